import type { Lane } from '@sightline/shared/contracts/jobs';
import type { DecodedPicture } from '@sightline/shared/pictures/decoded-picture';
import type { Encoder } from './encoder.ts';

export interface PictureBatcherOptions {
  lane: Lane;
  maxBatch: number;
  onBatch?: (size: number, seconds: number) => void;
}

/** One batch computes while the next is handed over: the encoder never waits for the hand-over. */
const BATCHES_IN_FLIGHT = 2;

/**
 * Gathers decoded pictures of all chunks into batches. It never waits for a batch to fill: what came while the encoder was
 * busy is the next batch, so that batches grow exactly when decoding is faster than encoding.
 */
export class PictureBatcher {
  readonly #encoder: Pick<Encoder, 'encodePictures'>;
  readonly #options: PictureBatcherOptions;
  #waiting: { picture: DecodedPicture; resolve: (vector: Float32Array) => void; reject: (error: Error) => void }[] = [];
  #inFlight = 0;

  constructor(encoder: Pick<Encoder, 'encodePictures'>, options: PictureBatcherOptions) {
    this.#encoder = encoder;
    this.#options = options;
  }

  /** The picture's vector. Errors: those of the encoder, for this picture alone where it can tell. */
  encode(picture: DecodedPicture): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ picture, resolve, reject });
      this.#next();
    });
  }

  #next(): void {
    if (this.#inFlight >= BATCHES_IN_FLIGHT || this.#waiting.length === 0) return;
    const batch = this.#waiting.slice(0, this.#options.maxBatch);
    this.#waiting = this.#waiting.slice(batch.length);
    this.#inFlight += 1;
    const startedAt = performance.now();
    this.#encoder
      .encodePictures(
        batch.map(({ picture }) => picture),
        { lane: this.#options.lane },
      )
      .then((outcomes) => {
        batch.forEach(({ resolve, reject }, i) => {
          const outcome = outcomes[i];
          if (outcome?.ok) resolve(outcome.value);
          else reject(outcome?.error ?? new Error('The encoder answered for fewer pictures than it was given.'));
        });
      })
      .catch((error: unknown) => {
        for (const { reject } of batch) reject(error instanceof Error ? error : new Error(String(error)));
      })
      .finally(() => {
        this.#options.onBatch?.(batch.length, (performance.now() - startedAt) / 1000);
        this.#inFlight -= 1;
        this.#next();
      });
  }
}
