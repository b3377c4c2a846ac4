/** A place in the store. For a directory source the bucket is the directory's absolute path; else a bucket's name. */
export interface ObjectRef {
  bucket: string;
  /** Forward slashes; UTF-8; never normalised. A directory source's keys neither begin with a slash nor have empty segments. */
  key: string;
}

export interface ObjectInfo extends ObjectRef {
  /** Opaque; changes whenever the bytes do. Never quoted. */
  eTag: string;
  sizeBytes: number;
  modifiedAt: Date;
}

/**
 * Where pictures lie. Errors: `object_not_found`, `object_changed` (an `ifMatch` that no longer holds), `object_forbidden`,
 * `picture_too_many_bytes` (over `maxBytes`, found before the bytes are read), `key_outside_source`, `source_not_found`
 * (a bucket that is not there), `source_not_allowed` (a bucket that is the stack's own), `object_listing_unordered` (a store that
 * lists in another order), `object_store_unavailable` (may pass: retry). An aborted signal's reason is thrown as it is.
 */
export interface ObjectStore {
  /** Every object under `prefix` in ascending byte order of key, after `startAfter` when given. Streams; never holds the listing. */
  list(place: { bucket: string; prefix: string; startAfter?: string; signal?: AbortSignal }): AsyncIterable<ObjectInfo>;
  /** The object's present state, or null when it is not there. */
  head(ref: ObjectRef): Promise<ObjectInfo | null>;
  /** The whole object; `ifMatch` makes the bytes those of that eTag or fails. */
  get(
    ref: ObjectRef,
    options: { maxBytes: number; ifMatch?: string; signal?: AbortSignal },
  ): Promise<{ info: ObjectInfo; bytes: Buffer }>;
  /** The object as a stream of chunks from byte `start`, for manifests of any size. */
  stream(
    ref: ObjectRef,
    options: { start?: number; ifMatch?: string; signal?: AbortSignal },
  ): Promise<{ info: ObjectInfo; body: AsyncIterable<Uint8Array> }>;
  /** Writes whole or not at all. */
  put(ref: ObjectRef, bytes: Uint8Array, options: { contentType: string }): Promise<void>;
  /** As `put`, of any size: what `body` yields is written as it comes, and is there when all of it is. */
  putStream(
    ref: ObjectRef,
    body: AsyncIterable<Uint8Array>,
    options: { contentType: string; signal?: AbortSignal },
  ): Promise<void>;
  /** Deleting what is not there succeeds. */
  delete(ref: ObjectRef): Promise<void>;
  /** Deletes everything under the prefix in the system bucket that is older than `olderThanMs`; answers how many. */
  expire(place: { bucket: string; prefix: string; olderThanMs: number }): Promise<number>;
  close(): Promise<void>;
}
