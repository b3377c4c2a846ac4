/**
 * Bounds the pixels that are being decoded at a time, so that a few huge pictures cannot fill the memory together while
 * many small ones go side by side. First come, first served: a large one is not overtaken for ever.
 */
export class PixelBudget {
  readonly #limit: number;
  #taken = 0;
  readonly #waiting: { pixels: number; start: () => void }[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Resolves when there is room; call the answer once to give it back. */
  async take(pixels: number): Promise<() => void> {
    if (this.#waiting.length > 0 || !this.#hasRoom(pixels)) {
      await new Promise<void>((start) => this.#waiting.push({ pixels, start }));
    } else this.#taken += pixels;
    return () => {
      this.#taken -= pixels;
      while (this.#waiting.length > 0 && this.#hasRoom(this.#waiting[0]!.pixels)) {
        const next = this.#waiting.shift()!;
        this.#taken += next.pixels;
        next.start();
      }
    };
  }

  #hasRoom(pixels: number): boolean {
    return this.#taken === 0 || this.#taken + pixels <= this.#limit;
  }
}
