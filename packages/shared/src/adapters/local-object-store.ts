import { constants, type BigIntStats } from 'node:fs';
import { lstat, open, realpath, rmdir, unlink, type FileHandle } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import type { ObjectInfo, ObjectRef, ObjectStore } from '../ports/object-store.ts';
import { SightlineError } from '../runtime/errors.ts';
import {
  assertKey,
  bucketFolder,
  bucketRoot,
  errnoOf,
  isHidden,
  isKeyTooLong,
  isWithin,
  resolveInBucket,
  storeError,
} from './local-path.ts';
import { walkFiles, type SkipReason } from './local-walk.ts';
import { writeWhole } from './local-write.ts';
import { mapAhead } from '../ingestion/map-ahead.ts';
import { WatchedBody } from './watched-body.ts';

const STREAM_CHUNK_BYTES = 256 * 1024;
/** Files looked at ahead in a listing. The pool that asks the file system has four threads: more only queue. */
const HEADS_AHEAD = 16;
const ROOT_KEPT_MS = 1_000;
const ROOTS_KEPT = 100;

interface BucketRoot {
  /** With links resolved. */
  root: string;
  /** The data folder's real path, where it is not the bucket's own place. */
  closedOff: string | null;
}

export interface LocalObjectStoreOptions {
  /** Absolute. Named buckets lie in `<dataDir>/objects/<name>`; the folder itself is never listed. */
  dataDir: string;
  /** Told of what a listing leaves out, with the reason. */
  onSkip?: (ref: ObjectRef, reason: SkipReason) => void;
  now?: () => number;
}

/**
 * ObjectStore over folders: a bucket is a folder's absolute path, or a name under the data folder.
 *
 * eTag: size, modification time, change time (nanoseconds) and inode. An edit that keeps all four is not seen; the kernel
 * moves the change time with every write, so that takes a clock set back or a file system without fine times.
 * Hidden files, devices, pipes, names that are not UTF-8 and links that lead out are not objects.
 */
export class LocalObjectStore implements ObjectStore {
  readonly #dataDir: string;
  readonly #onSkip: (ref: ObjectRef, reason: SkipReason) => void;
  readonly #now: () => number;
  readonly #roots = new Map<string, { root: Promise<BucketRoot>; until: number }>();

  constructor({ dataDir, onSkip = () => {}, now = Date.now }: LocalObjectStoreOptions) {
    this.#dataDir = resolve(dataDir);
    this.#onSkip = onSkip;
    this.#now = now;
  }

  async *list({ bucket, prefix, startAfter, signal }: Parameters<ObjectStore['list']>[0]): AsyncGenerator<ObjectInfo> {
    const root = await bucketRoot(this.#dataDir, bucket);
    const leaveOut = await realpath(this.#dataDir).catch(() => this.#dataDir);
    const onSkip = (key: string, reason: SkipReason): void => this.#onSkip({ bucket, key }, reason);
    const keys = walkFiles({ root, prefix, startAfter, leaveOut, signal, onSkip });
    // A look takes some tenths of a millisecond, and many can be waited for at once.
    for await (const info of mapAhead(keys, HEADS_AHEAD, (key) => this.#look({ bucket, key }, onSkip))) {
      signal?.throwIfAborted();
      if (info) yield info;
    }
  }

  async head(ref: ObjectRef): Promise<ObjectInfo | null> {
    assertKey(ref.key);
    const { root, closedOff } = await this.#root(ref.bucket);
    if (isHidden(ref.key)) return null;
    try {
      const path = await resolveInBucket(root, ref.key, closedOff);
      if (path === null) return await this.#absent(ref.bucket);
      const status = await lstat(path, { bigint: true });
      return status.isFile() ? toInfo(ref, status) : null;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return null;
      throw storeError(error);
    }
  }

  async get(
    ref: ObjectRef,
    { maxBytes, ifMatch, signal }: Parameters<ObjectStore['get']>[1],
  ): Promise<{ info: ObjectInfo; bytes: Buffer }> {
    const { file, info } = await this.#open(ref, ifMatch);
    try {
      if (info.sizeBytes > maxBytes) {
        throw new SightlineError('picture_too_many_bytes', `It has ${info.sizeBytes} bytes, the limit is ${maxBytes}.`);
      }
      const bytes = Buffer.allocUnsafe(info.sizeBytes);
      let filled = 0;
      while (filled < bytes.length) {
        signal?.throwIfAborted();
        const { bytesRead } = await file.read(bytes, filled, Math.min(bytes.length - filled, 1 << 22), filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      // A writer in place is seen here: bytes of two states must not go out under one eTag.
      const after = toInfo(ref, await file.stat({ bigint: true }));
      if (filled < bytes.length || after.eTag !== info.eTag) throw new SightlineError('object_changed');
      return { info, bytes };
    } catch (error) {
      throw storeError(error);
    } finally {
      await file.close();
    }
  }

  async stream(
    ref: ObjectRef,
    { start = 0, ifMatch, signal }: Parameters<ObjectStore['stream']>[1],
  ): Promise<{ info: ObjectInfo; body: AsyncIterable<Uint8Array> }> {
    const { file, info } = await this.#open(ref, ifMatch);
    await file.close();
    return { info, body: this.#chunks(info, start, signal) };
  }

  async put(ref: ObjectRef, bytes: Uint8Array, _options: { contentType: string }): Promise<void> {
    await this.#write(ref, (file) => file.writeFile(bytes));
  }

  async putStream(
    ref: ObjectRef,
    body: AsyncIterable<Uint8Array>,
    { signal }: Parameters<ObjectStore['putStream']>[2],
  ): Promise<void> {
    const watched = new WatchedBody(body, signal);
    try {
      await this.#write(ref, async (file) => {
        for await (const part of watched) await file.appendFile(part);
      });
    } catch (error) {
      throw watched.causeOf(error);
    }
  }

  async delete(ref: ObjectRef): Promise<void> {
    assertKey(ref.key);
    try {
      const root = await realpath(bucketFolder(this.#dataDir, ref.bucket));
      const path = join(root, ref.key);
      const parent = await realpath(dirname(path));
      if (!isWithin(root, parent)) throw new SightlineError('key_outside_source');
      await unlink(join(parent, basename(path)));
      // Folders are only there for their keys. The first that is not empty ends it.
      for (let empty = parent; empty !== root; empty = dirname(empty)) await rmdir(empty);
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'ENOTEMPTY', 'EEXIST'].includes(errnoOf(error) ?? '')) return;
      throw storeError(error);
    }
  }

  async expire({ bucket, prefix, olderThanMs }: Parameters<ObjectStore['expire']>[0]): Promise<number> {
    let expired = 0;
    const before = this.#now() - olderThanMs;
    try {
      for await (const info of this.list({ bucket, prefix })) {
        if (info.modifiedAt.getTime() >= before) continue;
        await this.delete(info);
        expired += 1;
      }
    } catch (error) {
      // A bucket into which nothing was ever put has no folder.
      if (!(error instanceof SightlineError && error.code === 'source_not_found')) throw error;
    }
    return expired;
  }

  async close(): Promise<void> {}

  /** An object of a listing, or null when it is none after all. */
  async #look(ref: ObjectRef, onSkip: (key: string, reason: SkipReason) => void): Promise<ObjectInfo | null> {
    if (isKeyTooLong(ref.key)) {
      onSkip(ref.key, 'key_too_long');
      return null;
    }
    try {
      // A file may go between the listing and this look; then it is not listed.
      return await this.head(ref);
    } catch (error) {
      // A folder that lets its names be read but not its files, a link that was turned round: one file never ends the listing.
      if (!(error instanceof SightlineError && (error.code === 'object_forbidden' || error.code === 'key_outside_source')))
        throw error;
      onSkip(ref.key, 'unreadable_file');
      return null;
    }
  }

  /** Looked up once a second: three questions to the file system for each object would be a third of all. */
  #root(bucket: string): Promise<BucketRoot> {
    const known = this.#roots.get(bucket);
    if (known && performance.now() < known.until) return known.root;
    const root = this.#resolveRoot(bucket);
    if (this.#roots.size >= ROOTS_KEPT) this.#roots.clear();
    this.#roots.set(bucket, { root, until: performance.now() + ROOT_KEPT_MS });
    root.catch(() => this.#roots.delete(bucket));
    return root;
  }

  async #resolveRoot(bucket: string): Promise<BucketRoot> {
    const root = await bucketRoot(this.#dataDir, bucket);
    // Named buckets lie in the data folder themselves.
    return { root, closedOff: isAbsolute(bucket) ? await realpath(this.#dataDir).catch(() => null) : null };
  }

  /** An object is only said to be absent while its bucket is there: a folder that went away is another matter. */
  async #absent(bucket: string): Promise<null> {
    await bucketRoot(this.#dataDir, bucket);
    return null;
  }

  async #open(ref: ObjectRef, ifMatch: string | undefined): Promise<{ file: FileHandle; info: ObjectInfo }> {
    let file: FileHandle | null = null;
    try {
      assertKey(ref.key);
      const { root, closedOff } = await this.#root(ref.bucket);
      const path = isHidden(ref.key) ? null : await resolveInBucket(root, ref.key, closedOff);
      // Looked at before it is opened: opening a device can have effects, opening a pipe can wait for ever.
      if (path === null) await this.#absent(ref.bucket);
      if (path === null || !(await lstat(path)).isFile()) throw new SightlineError('object_not_found');
      file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      const status = await file.stat({ bigint: true });
      if (!status.isFile()) throw new SightlineError('object_not_found');
      const info = toInfo(ref, status);
      if (ifMatch !== undefined && info.eTag !== ifMatch) throw new SightlineError('object_changed');
      return { file, info };
    } catch (error) {
      await file?.close();
      throw storeError(error);
    }
  }

  async #write(ref: ObjectRef, write: (file: FileHandle) => Promise<void>): Promise<void> {
    assertKey(ref.key);
    const folder = bucketFolder(this.#dataDir, ref.bucket);
    try {
      await writeWhole(folder, join(folder, ref.key), write);
    } catch (error) {
      throw storeError(error);
    }
  }

  /** Opens once it is read: a body that nobody reads holds no descriptor. */
  async *#chunks(info: ObjectInfo, start: number, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    const { file } = await this.#open(info, info.eTag);
    try {
      for (let position = start; ;) {
        signal?.throwIfAborted();
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(STREAM_CHUNK_BYTES), 0, STREAM_CHUNK_BYTES, position);
        const after = toInfo(info, await file.stat({ bigint: true }));
        if (after.eTag !== info.eTag) throw new SightlineError('object_changed');
        if (bytesRead === 0) return;
        position += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } catch (error) {
      throw storeError(error);
    } finally {
      await file.close();
    }
  }
}

function toInfo({ bucket, key }: ObjectRef, status: BigIntStats): ObjectInfo {
  return {
    bucket,
    key,
    eTag: [status.size, status.mtimeNs, status.ctimeNs, status.ino].map((part) => part.toString(36)).join('-'),
    sizeBytes: Number(status.size),
    modifiedAt: new Date(Number(status.mtimeMs)),
  };
}
