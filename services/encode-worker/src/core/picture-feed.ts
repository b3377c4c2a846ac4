import { createHash } from 'node:crypto';
import type { ObjectRef, ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { Budget } from './budget.ts';
import type { Encoder } from './encoder.ts';
import { KnownVectors } from './known-vectors.ts';
import type { PictureBatcher } from './picture-batcher.ts';

export type Stage = 'fetch' | 'decode' | 'encode' | 'write';

export interface PictureFeedDeps {
  store: Pick<ObjectStore, 'get'>;
  index: Pick<VectorIndex, 'findImageVectors'>;
  encoder: Pick<Encoder, 'decode'>;
  batcher: PictureBatcher;
  observe: (stage: Stage, seconds: number) => void;
}

export interface PictureFeedLimits {
  maxPictureBytes: number;
  /** Bytes of files that are held at once, waiting for their decoding included. */
  bytesInFlight: number;
  /** Pictures decoded at once. */
  decodeConcurrency: number;
  /** Pictures that are decoded and wait for the encoder. */
  decodedAhead: number;
}

/** Round the decoding of a picture that may kill the process. */
export type Guard = <T>(decode: () => Promise<T>) => Promise<T>;

interface Content {
  vector: Float32Array;
  widthPx: number;
  heightPx: number;
}

/** A picture's bytes, fetched and made a vector. */
export interface FedPicture extends Content {
  eTag: string;
  sha256: string;
  sizeBytes: number;
  /** The same bytes were encoded before, under another key. */
  isKnown: boolean;
}

/** Contents encoded a moment ago, before the index has them: enough to bridge the writing of a few chunks. */
const RECENT = 2_048;

/**
 * Fetches and decodes ahead of the encoder, for all chunks of a worker together: when one chunk writes, the others keep the
 * encoder busy. What it holds is bounded in bytes and in pictures, whatever the number of chunks.
 */
export class PictureFeed {
  readonly #deps: PictureFeedDeps;
  readonly #limits: PictureFeedLimits;
  readonly #known: KnownVectors;
  readonly #bytes: Budget;
  readonly #decoders: Budget;
  readonly #decoded: Budget;
  /** One picture at a time is decoded alone. */
  readonly #alone = new Budget(1);
  /** By tenant and sha256; settled ones stay until newer ones push them out. */
  readonly #recent = new Map<string, { content: Promise<Content>; place: string }>();

  constructor(deps: PictureFeedDeps, limits: PictureFeedLimits) {
    this.#deps = deps;
    this.#limits = limits;
    this.#known = new KnownVectors(deps.index);
    this.#bytes = new Budget(limits.bytesInFlight);
    this.#decoders = new Budget(limits.decodeConcurrency);
    this.#decoded = new Budget(limits.decodedAhead);
  }

  /**
   * The present bytes of an object as a vector. `onFetched` learns the eTag of the bytes before they can fail to decode.
   * `guard` is for a picture that may kill the process: it is called round the decoding, during which nothing else is decoded.
   * Errors: those of ObjectStore.get and of the encoder.
   */
  async take(
    tenant: string,
    ref: ObjectRef & { sizeBytes: number },
    { signal, onFetched, guard }: { signal?: AbortSignal; onFetched?: (eTag: string) => void; guard?: Guard | undefined },
  ): Promise<FedPicture> {
    if (guard) return this.#takeAlone(tenant, ref, guard, { signal, onFetched });
    // The listed size is what it will be, unless the object changed meanwhile; the limit holds then all the same.
    const giveBack = await this.#bytes.take(Math.min(ref.sizeBytes, this.#limits.maxPictureBytes), signal);
    try {
      const { info, bytes } = await this.#timed('fetch', () =>
        this.#deps.store.get(ref, { maxBytes: this.#limits.maxPictureBytes, signal }),
      );
      onFetched?.(info.eTag);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      const { content, isKnown } = await unlessAborted(this.#content(tenant, sha256, ref, bytes, giveBack), signal);
      return { ...content, isKnown, eTag: info.eTag, sha256, sizeBytes: info.sizeBytes };
    } finally {
      giveBack();
    }
  }

  /**
   * Outside the budgets of bytes and of decoded pictures, and of what others have under way: who waits for the decoders holds
   * those, and they are kept waiting here. One at a time, so it holds one picture more than the budgets say.
   */
  async #takeAlone(
    tenant: string,
    ref: ObjectRef & { sizeBytes: number },
    guard: Guard,
    { signal, onFetched }: { signal?: AbortSignal | undefined; onFetched?: ((eTag: string) => void) | undefined },
  ): Promise<FedPicture> {
    const giveBack = await this.#alone.take(1, signal);
    try {
      const { info, bytes } = await this.#timed('fetch', () =>
        this.#deps.store.get(ref, { maxBytes: this.#limits.maxPictureBytes, ...(signal && { signal }) }),
      );
      onFetched?.(info.eTag);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      const about = { eTag: info.eTag, sha256, sizeBytes: info.sizeBytes };
      const known = await this.#known.find(tenant, sha256);
      if (known) return { ...known, ...about, isKnown: true };
      const resume = await this.#decoders.take(this.#limits.decodeConcurrency, signal);
      const picture = await this.#timed('decode', () => guard(() => this.#deps.encoder.decode(bytes))).finally(resume);
      const vector = await this.#timed('encode', () => this.#deps.batcher.encode(picture));
      return { vector, widthPx: picture.widthPx, heightPx: picture.heightPx, ...about, isKnown: false };
    } finally {
      giveBack();
    }
  }

  async #content(
    tenant: string,
    sha256: string,
    { bucket, key }: ObjectRef,
    bytes: Buffer,
    onDecoded: () => void,
  ): Promise<{ content: Content; isKnown: boolean }> {
    const contentKey = `${tenant}\0${sha256}`;
    const place = `${bucket}\0${key}`;
    const recent = this.#recent.get(contentKey);
    if (recent) return { content: await recent.content, isKnown: recent.place !== place };
    // Entered before the first await: a second picture of these bytes must find it.
    let isKnown = false;
    const content = (async (): Promise<Content> => {
      const known = await this.#known.find(tenant, sha256);
      isKnown = known !== undefined;
      return known ?? (await this.#encode(bytes, onDecoded));
    })();
    this.#recent.set(contentKey, { content, place });
    // A failure may pass, and a retry must not be answered with it.
    content.catch(() => this.#recent.delete(contentKey));
    for (const oldest of this.#recent.keys()) {
      if (this.#recent.size <= RECENT) break;
      this.#recent.delete(oldest);
    }
    return { content: await content, isKnown };
  }

  /** Not tied to any chunk's signal: another chunk may wait for the same content. */
  async #encode(bytes: Buffer, onDecoded: () => void): Promise<Content> {
    const giveBack = await this.#decoded.take(1);
    try {
      const stopDecoding = await this.#decoders.take(1);
      const picture = await this.#timed('decode', () => this.#deps.encoder.decode(bytes)).finally(stopDecoding);
      onDecoded();
      const vector = await this.#timed('encode', () => this.#deps.batcher.encode(picture));
      return { vector, widthPx: picture.widthPx, heightPx: picture.heightPx };
    } finally {
      giveBack();
    }
  }

  async #timed<T>(stage: Stage, work: () => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    try {
      return await work();
    } finally {
      this.#deps.observe(stage, (performance.now() - startedAt) / 1000);
    }
  }
}

/** Stops waiting when the signal says so; the work itself goes on for whoever else waits for it. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
