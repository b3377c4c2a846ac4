import { BLACK, WHITE, type Colour, type Drawing, type Mark } from '../core/annotated-picture.ts';
import { coverageOf } from '../core/outline-coverage.ts';
import { grown, placed, within, type Point, type Rect, type Size } from '../core/rects.ts';

/** Pixels of three bytes (red, green, blue), row by row, that frames and plates are painted on. */
export class PixelCanvas {
  readonly #pixels: Uint8Array;
  readonly #size: Size;

  constructor(pixels: Uint8Array, size: Size) {
    this.#pixels = pixels;
    this.#size = size;
  }

  /** `outline` gives a text's contours in pixels, from 0 on the line y = 0. */
  draw({ marks, frame, fontPx }: Drawing, outline: (text: string, fontPx: number) => Point[][]): void {
    for (const mark of marks) this.#drawFrame(mark, frame);
    for (const mark of marks) this.#drawLeader(mark, frame);
    for (const { plate, colour } of marks) {
      if (!plate) continue;
      this.#fill(plate.rect, BLACK);
      this.#fill(grown(plate.rect, -1), colour);
      const contours = outline(plate.text, fontPx);
      this.#fillOutline(shifted(contours, plate.textX, plate.baselineY), plate.ink);
    }
  }

  #drawFrame({ inner, colour }: Mark, { lightPx, colourPx, darkPx }: Drawing['frame']): void {
    const rings: [px: number, colour: Colour][] = [
      [lightPx, WHITE],
      [colourPx, colour],
      [darkPx, BLACK],
    ];
    let hole = inner;
    for (const [px, colour] of rings) {
      const edge = grown(hole, px);
      this.#fill([edge[0], edge[1], edge[2], hole[1]], colour);
      this.#fill([edge[0], hole[3], edge[2], edge[3]], colour);
      this.#fill([edge[0], hole[1], hole[0], hole[3]], colour);
      this.#fill([hole[2], hole[1], edge[2], hole[3]], colour);
      hole = edge;
    }
  }

  #drawLeader({ leader, colour }: Mark, { colourPx, darkPx }: Drawing['frame']): void {
    if (!leader) return;
    const { from, to } = leader;
    this.#fillOutline([line(from, to, colourPx + 2 * darkPx)], BLACK);
    this.#fillOutline([line(from, to, colourPx)], colour);
  }

  #fill(rect: Rect, colour: Colour): void {
    const { widthPx } = this.#size;
    const [left, top, right, bottom] = within(this.#size, rect);
    if (right <= left) return;
    const row = new Uint8Array((right - left) * 3);
    for (let at = 0; at < row.length; at += 3) row.set(colour, at);
    for (let y = top; y < bottom; y++) this.#pixels.set(row, (y * widthPx + left) * 3);
  }

  #fillOutline(contours: Point[][], [red, green, blue]: Colour): void {
    const { widthPx } = this.#size;
    const coverage = coverageOf(contours);
    const { left, top } = coverage;
    const seen = within(this.#size, placed(left, top, coverage));
    const pixels = this.#pixels;
    for (let y = seen[1]; y < seen[3]; y++)
      for (let x = seen[0]; x < seen[2]; x++) {
        const share = coverage.values[(y - top) * coverage.widthPx + x - left] ?? 0;
        if (share === 0) continue;
        const at = (y * widthPx + x) * 3;
        pixels[at] = blend(pixels[at], red, share);
        pixels[at + 1] = blend(pixels[at + 1], green, share);
        pixels[at + 2] = blend(pixels[at + 2], blue, share);
      }
  }
}

function blend(below = 0, above: number, share: number): number {
  return Math.round(below + (above - below) * share);
}

function shifted(contours: Point[][], dx: number, dy: number): Point[][] {
  return contours.map((contour) => contour.map(([x, y]): Point => [x + dx, y + dy]));
}

/** A straight line as the outline of a thin rectangle. */
function line([x0, y0]: Point, [x1, y1]: Point, widthPx: number): Point[] {
  const length = Math.hypot(x1 - x0, y1 - y0) || 1;
  const [dx, dy] = [((y1 - y0) / length) * (widthPx / 2), ((x0 - x1) / length) * (widthPx / 2)];
  return [
    [x0 + dx, y0 + dy],
    [x1 + dx, y1 + dy],
    [x1 - dx, y1 - dy],
    [x0 - dx, y0 - dy],
  ];
}
