import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type GetObjectCommandOutput,
  type S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { Readable } from 'node:stream';
import { SYSTEM_BUCKET } from '../contracts/ids.ts';
import type { ObjectInfo, ObjectRef, ObjectStore } from '../ports/object-store.ts';
import { SightlineError } from '../runtime/errors.ts';
import { mapAhead } from '../ingestion/map-ahead.ts';
import { BodyFault, bodyChunks, discardBody } from './s3-object-store-body.ts';
import { S3_DEFAULTS, s3Client, type S3Place } from './s3-object-store-client.ts';
import { s3Error } from './s3-object-store-error.ts';
import { ifMatchOf, objectInfo } from './s3-object-store-info.ts';
import { assertS3Key } from './s3-object-store-key.ts';
import { listInOrder } from './s3-object-store-listing.ts';
import { openSystemBucket } from './s3-object-store-opening.ts';
import { PAGE_KEYS, pageFetcher, type S3SkipReason } from './s3-object-store-page.ts';
import { backoffMs } from './s3-object-store-retry.ts';
import { WatchedBody } from './watched-body.ts';

/** Two parts under way of 16 MiB each: 32 MiB of memory, and 160 GB in S3's 10,000 parts. */
const PART_BYTES = 16 * 1024 * 1024;
const PARTS_AT_ONCE = 2;
const ABORT_GRACE_MS = 5_000;
const EXPIRE_AT_ONCE = 8;
/** So long a bucket that was seen is taken to be there. */
const BUCKET_KEPT_MS = 1_000;

export interface S3Deps {
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  random: () => number;
  now: () => number;
  /** Told of what a listing leaves out, with the reason. */
  onSkip: (ref: ObjectRef, reason: S3SkipReason) => void;
}

/**
 * Opens an S3 store: AWS, MinIO, Versity, Ceph. The system bucket is made when it is not there. Errors: `config_invalid` (no
 * credentials, a system bucket that is somebody else's), `object_forbidden`, `source_not_found` (another region),
 * `object_store_unavailable`.
 */
export async function openS3ObjectStore(place: S3Place, deps: S3Deps): Promise<ObjectStore> {
  const closed = new AbortController();
  const client = s3Client(place, { ...deps, sleep: (ms) => deps.sleep(ms, closed.signal) });
  try {
    await openSystemBucket(client, place.systemBucket);
  } catch (error) {
    client.destroy();
    throw error;
  }
  return new S3ObjectStore(client, place, deps, closed);
}

class S3ObjectStore implements ObjectStore {
  readonly #client: S3Client;
  readonly #place: S3Place;
  readonly #deps: S3Deps;
  readonly #closed: AbortController;
  readonly #seenBuckets = new Map<string, number>();

  constructor(client: S3Client, place: S3Place, deps: S3Deps, closed: AbortController) {
    this.#client = client;
    this.#place = place;
    this.#deps = deps;
    this.#closed = closed;
  }

  async *list({ bucket, prefix, startAfter, signal }: Parameters<ObjectStore['list']>[0]): AsyncGenerator<ObjectInfo> {
    const ahead = { pageKeys: PAGE_KEYS, ...(this.#place.listAhead ?? S3_DEFAULTS.listAhead) };
    const named = { bucket, s3Bucket: this.#bucket(bucket), pageKeys: ahead.pageKeys };
    const fetchPage = pageFetcher(this.#client, named, (key, reason) => this.#deps.onSkip({ bucket, key }, reason));
    try {
      yield* listInOrder(fetchPage, { prefix, startAfter, signal, ahead });
    } catch (error) {
      throw signal?.aborted ? signal.reason : s3Error(error);
    }
  }

  async head(ref: ObjectRef): Promise<ObjectInfo | null> {
    assertS3Key(ref.key);
    return this.#head(ref, {});
  }

  async get(
    ref: ObjectRef,
    { maxBytes, ifMatch, signal }: Parameters<ObjectStore['get']>[1],
  ): Promise<{ info: ObjectInfo; bytes: Buffer }> {
    assertS3Key(ref.key);
    for (let failures = 1; ; failures++) {
      try {
        const answer = await this.#open(ref, { ifMatch, signal });
        return await this.#readWhole(answer, ref, maxBytes, signal);
      } catch (error) {
        await this.#beforeNext(error, failures, signal);
      }
    }
  }

  async stream(
    ref: ObjectRef,
    { start = 0, ifMatch, signal }: Parameters<ObjectStore['stream']>[1],
  ): Promise<{ info: ObjectInfo; body: AsyncIterable<Uint8Array> }> {
    assertS3Key(ref.key);
    // Only headed: a body that nobody reads would hold a connection.
    const info = await this.#head(ref, { ifMatch, signal });
    if (!info) throw new SightlineError('object_not_found');
    return { info, body: this.#chunks(info, start, signal) };
  }

  async put(ref: ObjectRef, bytes: Uint8Array, { contentType }: { contentType: string }): Promise<void> {
    assertS3Key(ref.key);
    await this.#ask(() =>
      this.#client.send(
        new PutObjectCommand({
          ...this.#named(ref),
          Body: bytes,
          ContentLength: bytes.byteLength,
          ContentType: contentType,
        }),
      ),
    );
  }

  async putStream(
    ref: ObjectRef,
    body: AsyncIterable<Uint8Array>,
    { contentType, signal }: Parameters<ObjectStore['putStream']>[2],
  ): Promise<void> {
    assertS3Key(ref.key);
    signal?.throwIfAborted();
    const watched = new WatchedBody(body, signal);
    const upload = new Upload({
      client: this.#client,
      params: { ...this.#named(ref), Body: Readable.from(watched, { objectMode: false }), ContentType: contentType },
      partSize: PART_BYTES,
      queueSize: PARTS_AT_ONCE,
    });
    // An abort ends the body, and with it the upload, which takes its parts away again; a store that hangs is not waited for.
    let giveUp: NodeJS.Timeout | undefined;
    const onAbort = (): void => {
      giveUp = setTimeout(() => void upload.abort(), ABORT_GRACE_MS);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await this.#ask(() => upload.done(), signal);
    } catch (error) {
      throw watched.causeOf(error);
    } finally {
      clearTimeout(giveUp);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async delete(ref: ObjectRef): Promise<void> {
    assertS3Key(ref.key);
    try {
      await this.#ask(() => this.#client.send(new DeleteObjectCommand(this.#named(ref))));
    } catch (error) {
      const isGone = error instanceof SightlineError && ['object_not_found', 'source_not_found'].includes(error.code);
      if (!isGone) throw error;
    }
  }

  async expire({ bucket, prefix, olderThanMs }: Parameters<ObjectStore['expire']>[0]): Promise<number> {
    const before = this.#deps.now() - olderThanMs;
    const old = this.#older({ bucket, prefix, before });
    let expired = 0;
    try {
      for await (const _ of mapAhead(old, EXPIRE_AT_ONCE, (info) => this.delete(info))) expired += 1;
    } catch (error) {
      if (!(error instanceof SightlineError && error.code === 'source_not_found')) throw error;
    }
    return expired;
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#client.destroy();
  }

  async *#older({ before, ...place }: { bucket: string; prefix: string; before: number }): AsyncGenerator<ObjectInfo> {
    for await (const info of this.list(place)) if (info.modifiedAt.getTime() < before) yield info;
  }

  /** The bucket's name in the store. The stack's own is reached by SYSTEM_BUCKET alone, or it could be ingested as a source. */
  #bucket(bucket: string): string {
    if (bucket === SYSTEM_BUCKET) return this.#place.systemBucket;
    if (bucket === this.#place.systemBucket)
      throw new SightlineError('source_not_allowed', 'The bucket is where the stack keeps its own files.');
    return bucket;
  }

  #named({ bucket, key }: ObjectRef): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket(bucket), Key: key };
  }

  /** The store's errors as the port's. An abort is thrown as the signal's reason. */
  async #ask<T>(send: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await send();
    } catch (error) {
      throw signal?.aborted ? signal.reason : s3Error(error);
    }
  }

  async #head(ref: ObjectRef, { ifMatch, signal }: { ifMatch?: string; signal?: AbortSignal }): Promise<ObjectInfo | null> {
    try {
      const answer = await this.#ask(
        () => this.#client.send(new HeadObjectCommand({ ...this.#named(ref), ...ifMatchOf(ifMatch) }), { abortSignal: signal }),
        signal,
      );
      return matching(
        objectInfo(ref, { eTag: answer.ETag, sizeBytes: answer.ContentLength, modifiedAt: answer.LastModified }),
        ifMatch,
      );
    } catch (error) {
      if (!(error instanceof SightlineError && error.code === 'object_not_found')) throw error;
      await this.#assertBucket(ref.bucket, signal);
      return null;
    }
  }

  /** The answer to a head has no words: whether the object or its bucket is missing takes a second question. */
  async #assertBucket(bucket: string, signal: AbortSignal | undefined): Promise<void> {
    const seen = this.#seenBuckets.get(bucket);
    if (seen !== undefined && this.#deps.now() - seen < BUCKET_KEPT_MS) return;
    try {
      await this.#ask(
        () => this.#client.send(new HeadBucketCommand({ Bucket: this.#bucket(bucket) }), { abortSignal: signal }),
        signal,
      );
    } catch (error) {
      // Who may read objects need not be allowed to look at the bucket.
      const isForbidden = error instanceof SightlineError && error.code === 'object_forbidden';
      if (error instanceof SightlineError && error.code === 'object_not_found') throw new SightlineError('source_not_found');
      if (!isForbidden) throw error;
    }
    if (this.#seenBuckets.size >= 100) this.#seenBuckets.clear();
    this.#seenBuckets.set(bucket, this.#deps.now());
  }

  async #open(
    ref: ObjectRef,
    { ifMatch, range, signal }: { ifMatch?: string; range?: string; signal?: AbortSignal },
  ): Promise<GetObjectCommandOutput> {
    const command = new GetObjectCommand({ ...this.#named(ref), ...ifMatchOf(ifMatch), Range: range });
    const answer = await this.#ask(() => this.#client.send(command, { abortSignal: signal }), signal);
    try {
      // Not every gateway heeds If-Match.
      matching(toldOf(ref, answer), ifMatch);
      return answer;
    } catch (error) {
      discardBody(answer.Body);
      throw error;
    }
  }

  async #readWhole(
    answer: GetObjectCommandOutput,
    ref: ObjectRef,
    maxBytes: number,
    signal: AbortSignal | undefined,
  ): Promise<{ info: ObjectInfo; bytes: Buffer }> {
    const promised = answer.ContentLength;
    if (promised !== undefined && promised > maxBytes) {
      discardBody(answer.Body);
      throw tooManyBytes(`${promised} bytes`, maxBytes);
    }
    const parts: Uint8Array[] = [];
    let sizeBytes = 0;
    for await (const part of bodyChunks(answer.Body, { stallTimeoutMs: this.#stallTimeoutMs, signal })) {
      sizeBytes += part.byteLength;
      // Whatever the head promised, or where it promised nothing.
      if (sizeBytes > maxBytes) throw tooManyBytes('more', maxBytes);
      parts.push(part);
    }
    if (promised !== undefined && sizeBytes !== promised)
      throw new BodyFault(`${sizeBytes} bytes of the ${promised} that were promised came.`);
    return { info: { ...toldOf(ref, answer), sizeBytes }, bytes: Buffer.concat(parts, sizeBytes) };
  }

  /** Opens once it is read, and goes on where it was when the connection breaks, which it does over hours. */
  async *#chunks(info: ObjectInfo, start: number, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    let position = start;
    for (let failures = 1; position < info.sizeBytes; failures++) {
      try {
        const answer = await this.#open(info, { ifMatch: info.eTag, range: `bytes=${position}-`, signal });
        if (answer.ContentLength !== undefined && answer.ContentLength !== info.sizeBytes - position) {
          discardBody(answer.Body);
          throw new BodyFault(`The answer is not the range from ${position} on.`);
        }
        for await (const chunk of bodyChunks(answer.Body, { stallTimeoutMs: this.#stallTimeoutMs, signal })) {
          position += chunk.byteLength;
          failures = 0;
          yield chunk;
        }
        if (position < info.sizeBytes) throw new BodyFault(`The body ended at ${position} of ${info.sizeBytes}.`);
      } catch (error) {
        await this.#beforeNext(error, Math.max(1, failures), signal);
      }
    }
  }

  get #stallTimeoutMs(): number {
    return this.#place.stallTimeoutMs ?? S3_DEFAULTS.stallTimeoutMs;
  }

  /** Waits before the next attempt at a body; throws what cannot pass, and what did not pass often enough. */
  async #beforeNext(error: unknown, failures: number, signal: AbortSignal | undefined): Promise<void> {
    if (!(error instanceof BodyFault)) throw error;
    if (failures >= this.#place.maxAttempts)
      throw new SightlineError('object_store_unavailable', error.message, { cause: error });
    const isOver = signal ? AbortSignal.any([signal, this.#closed.signal]) : this.#closed.signal;
    await this.#deps.sleep(backoffMs(failures, false, this.#deps.random), isOver).catch((sleepError: unknown) => {
      throw signal?.aborted ? signal.reason : s3Error(sleepError);
    });
  }
}

function toldOf(ref: ObjectRef, answer: GetObjectCommandOutput): ObjectInfo {
  return objectInfo(ref, { eTag: answer.ETag, sizeBytes: answer.ContentLength, modifiedAt: answer.LastModified });
}

function matching(info: ObjectInfo, ifMatch: string | undefined): ObjectInfo {
  if (ifMatch !== undefined && info.eTag !== ifMatch) throw new SightlineError('object_changed');
  return info;
}

function tooManyBytes(has: string, maxBytes: number): SightlineError {
  return new SightlineError('picture_too_many_bytes', `It has ${has}, the limit is ${maxBytes}.`);
}
