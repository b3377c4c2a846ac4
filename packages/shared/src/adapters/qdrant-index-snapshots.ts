import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { basename } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { SightlineError } from '../runtime/errors.ts';
import { QdrantConnection, type QdrantPlace } from './qdrant-connection.ts';
import { collectionBehind, collectionOf, pointAlias, readAbout, versionOf } from './qdrant-vector-index-format.ts';

/** A snapshot that lies on the server. */
export interface Snapshot {
  name: string;
  sizeBytes: number;
  /** Of the file, in hexadecimal. Null where the server does not tell. */
  sha256: string | null;
  createdAt: string | null;
}

/** Writing and reading back a snapshot of ten million points takes minutes, in one request. */
const SNAPSHOT_TIMEOUT_MS = 3 * 3_600_000;

/**
 * Backups of the index behind an alias: Qdrant's snapshots of its collection, metadata and payload indexes among it. Of one server; in a
 * cluster each node's shards are snapshots of their own (docs/qdrant.md). Errors: `index_unavailable`, `store_damaged`
 * (a file that is not what was written), `store_format_unsupported` (a snapshot of something else).
 */
export class QdrantIndexSnapshots {
  readonly #place: QdrantPlace;
  readonly #alias: string;
  readonly #connection: QdrantConnection;

  constructor(place: QdrantPlace, alias: string) {
    this.#place = place;
    this.#alias = alias;
    this.#connection = new QdrantConnection({ ...place, timeoutMs: SNAPSHOT_TIMEOUT_MS });
  }

  /** Writes a snapshot on the server; searches and writes go on meanwhile. */
  async create(): Promise<Snapshot> {
    const collection = await this.#collection();
    const made = await this.#connection.call((client) => client.createSnapshot(collection));
    if (!made) throw new SightlineError('index_unavailable', 'Qdrant made no snapshot.');
    return told(made);
  }

  async list(): Promise<Snapshot[]> {
    const collection = await this.#collection();
    return (await this.#connection.call((client) => client.listSnapshots(collection))).map(told);
  }

  async delete(name: string): Promise<void> {
    const collection = await this.#collection();
    await this.#connection.call((client) => client.deleteSnapshot(collection, name));
  }

  /** Copies a snapshot into a file here, and proves by its checksum that it is whole. */
  async download({ name, sha256 }: Snapshot, file: string): Promise<void> {
    const collection = await this.#collection();
    const path = `/collections/${encodeURIComponent(collection)}/snapshots/${encodeURIComponent(name)}`;
    const response = await fetch(this.#address(path), { headers: this.#headers() });
    if (!response.ok || !response.body) throw new SightlineError('index_unavailable', `Qdrant answered ${response.status}.`);
    await pipeline(Readable.fromWeb(response.body), createWriteStream(file));
    if (sha256 !== null && (await sha256Of(file)) !== sha256) {
      throw new SightlineError('store_damaged', `${file} is not the snapshot that Qdrant has: copy it again.`);
    }
  }

  /**
   * Makes a new collection from a snapshot's file and lets the alias stand for it; the one that served before stays as it is.
   * Processes that have the index open follow.
   */
  async restore(file: string, sha256: string | null): Promise<{ collection: string; previous: string | null; points: number }> {
    if (sha256 !== null && (await sha256Of(file)) !== sha256) {
      throw new SightlineError('store_damaged', `${file} does not have the checksum that was written beside it.`);
    }
    const { collections } = await this.#connection.call((client) => client.getCollections());
    // After the last one: a number below it may be that of a version which was dropped, and which writers are kept from.
    const taken = collections.flatMap(({ name }) => versionOf(this.#alias, name) ?? []);
    const collection = collectionOf(this.#alias, Math.max(0, ...taken) + 1);
    await this.#upload(file, `/collections/${encodeURIComponent(collection)}/snapshots/upload?priority=snapshot&wait=true`);
    if (!(await readAbout(this.#connection, collection))) {
      await this.#connection.call((client) => client.deleteCollection(collection));
      throw new SightlineError('store_format_unsupported', `${file} is a snapshot of something that Sightline did not make.`);
    }
    const previous = await collectionBehind(this.#connection, this.#alias);
    await pointAlias(this.#connection, this.#alias, collection);
    const { count } = await this.#connection.call((client) => client.count(collection, { exact: true }));
    return { collection, previous, points: count };
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #collection(): Promise<string> {
    const collection = await collectionBehind(this.#connection, this.#alias);
    if (collection === null) throw new SightlineError('index_unavailable', `Qdrant has no index called ${this.#alias}.`);
    return collection;
  }

  #address(path: string): URL {
    return new URL(`${this.#place.url.replace(/\/$/, '')}${path}`);
  }

  #headers(): Record<string, string> {
    return this.#place.apiKey ? { 'api-key': this.#place.apiKey } : {};
  }

  /** Not by fetch: that gives up when a server takes more than five minutes to answer. */
  async #upload(file: string, path: string): Promise<void> {
    const url = this.#address(path);
    const boundary = 'sightline-snapshot-7d1f2c90b6e84a53';
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="snapshot"; filename="${basename(file)}"\r\nContent-Type: application/octet-stream\r\n\r\n`;
    const tail = `\r\n--${boundary}--\r\n`;
    const { size } = await stat(file);
    const headers = {
      ...this.#headers(),
      'content-type': `multipart/form-data; boundary=${boundary}`,
      'content-length': head.length + size + tail.length,
    };
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, { method: 'POST', headers });
    const answered = new Promise<{ status: number; body: string }>((resolve, reject) => {
      request.on('error', reject);
      request.on('response', (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (body += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
        response.on('error', reject);
      });
    });
    const parts = async function* () {
      yield head;
      yield* createReadStream(file);
      yield tail;
    };
    try {
      const [{ status, body }] = await Promise.all([answered, pipeline(parts, request)]);
      if (status !== 200)
        throw new SightlineError('store_damaged', `Qdrant refused the snapshot (${status}): ${body.slice(0, 500)}`);
    } catch (error) {
      if (error instanceof SightlineError) throw error;
      throw new SightlineError('index_unavailable', 'Qdrant broke off while it was given the snapshot.', { cause: error });
    }
  }
}

function told(snapshot: { name: string; size: number; checksum?: string | null; creation_time?: string | null }): Snapshot {
  const { name, size, checksum = null, creation_time = null } = snapshot;
  return { name, sizeBytes: size, sha256: checksum, createdAt: creation_time };
}

/** In hexadecimal, of a file of any size. */
export async function sha256Of(file: string): Promise<string> {
  const sum = createHash('sha256');
  await pipeline(createReadStream(file), sum);
  return sum.digest('hex');
}
