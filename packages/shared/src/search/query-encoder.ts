import { createHash } from 'node:crypto';
import { newId, queryPictureKey, SYSTEM_BUCKET } from '../contracts/ids.ts';
import { encodeQueryResult, JOBS, type EncodeQueryResult } from '../contracts/jobs.ts';
import { bytesOfDataUrl } from '../pictures/picture-data-url.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { IndexSpec } from '../ports/vector-index.ts';
import { SightlineError } from '../runtime/errors.ts';
import type { QueueEngine } from '../ports/queue-engine.ts';
import type { EncodedQuery } from './encode-search.ts';

/** Remembered encodings of queries: pages and repeats of a search cost no encode. */
const MOST_REMEMBERED = 500;

export interface QueryEncoderDeps {
  queue: QueueEngine;
  store: ObjectStore;
  spec: IndexSpec;
  timeoutMs: number;
  maxPictureBytes: number;
  /** Unix milliseconds. */
  now: () => number;
}

/**
 * Has queries encoded by the encode workers. The picture waits in the object store, under a key that expires, and is deleted as
 * soon as the answer is there: a job carries references, never bytes.
 */
export class QueryEncoder {
  readonly #deps: QueryEncoderDeps;
  readonly #remembered = new Map<string, EncodedQuery>();
  #logitScale: number | null = null;

  constructor(deps: QueryEncoderDeps) {
    this.#deps = deps;
  }

  /** The last one an encoder told: the model's, so it holds for as long as the fingerprints do. */
  get logitScale(): number | null {
    return this.#logitScale;
  }

  /** `picture` is a data URL. Errors: the picture_* codes, `request_invalid`, `encoder_unavailable`, `queue_unavailable`. */
  async encode(query: {
    tenant: string;
    words: string | null;
    picture: string | null;
    traceId: string;
    signal?: AbortSignal | undefined;
  }): Promise<EncodedQuery> {
    const picture = query.picture === null ? null : bytesOfDataUrl(query.picture, this.#deps.maxPictureBytes);
    const key = createHash('sha256')
      .update(JSON.stringify([query.tenant, query.words]))
      .update(picture ?? '')
      .digest('base64');
    const known = this.#remembered.get(key);
    if (known) {
      this.#remembered.delete(key);
      this.#remembered.set(key, known);
      return known;
    }
    const encoded = await this.#request({ ...query, picture });
    this.#logitScale = encoded.logitScale;
    this.#remembered.set(key, encoded);
    const oldest = this.#remembered.keys().next().value;
    if (this.#remembered.size > MOST_REMEMBERED && oldest !== undefined) this.#remembered.delete(oldest);
    return encoded;
  }

  /** The text vector that an encode worker would write for a point of this text. Errors: those of `encode`. */
  async encodePassage(request: { tenant: string; text: string; traceId: string }): Promise<Float32Array> {
    const { tenant, text, traceId } = request;
    const { passageInTextSpace } = await this.#request({ tenant, words: null, picture: null, passage: text, traceId });
    if (!passageInTextSpace) throw new SightlineError('encoder_failed', 'The encoder gave no answer for the text.');
    return Float32Array.from(passageInTextSpace);
  }

  async #request(query: {
    tenant: string;
    words: string | null;
    picture: Buffer | null;
    passage?: string;
    traceId: string;
    signal?: AbortSignal | undefined;
  }): Promise<EncodeQueryResult> {
    const { queue, store, spec, timeoutMs, now } = this.#deps;
    const pictureKey = query.picture ? queryPictureKey(query.tenant, newId()) : undefined;
    const place = pictureKey ? { bucket: SYSTEM_BUCKET, key: pictureKey } : undefined;
    try {
      if (place && query.picture) await store.put(place, query.picture, { contentType: 'application/octet-stream' });
      const data = JOBS['encode-query'].schema.parse({
        tenant: query.tenant,
        fingerprints: { image: spec.image.fingerprint, text: spec.text.fingerprint },
        ...(query.words === null ? {} : { query: query.words }),
        ...(pictureKey ? { pictureKey } : {}),
        ...(query.passage === undefined ? {} : { passage: query.passage }),
        traceId: query.traceId,
        expiresAt: now() + timeoutMs,
      });
      const result = await queue.request('encode-query', data, {
        lane: 'interactive',
        timeoutMs,
        ...(query.signal ? { signal: query.signal } : {}),
      });
      return encodeQueryResult.parse(result);
    } finally {
      // A leftover expires by the sweep; the answer does not wait for that.
      if (place) await store.delete(place).catch(() => undefined);
    }
  }
}
