import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { SightlineError } from '../runtime/errors.ts';

const MAX_JSON_BYTES = 1024 * 1024;
const MAX_GRAPH_BYTES = 16 * 1024 ** 3;

/** A file of a pack with its size, known to lie inside the pack. */
interface PackFile {
  file: string;
  sizeBytes: number;
}

/**
 * The files of one pack directory. A pack is a stranger's: every path is resolved and must stay inside, sizes are bounded
 * before anything is read, and nothing in it is run. Errors: `pack_not_found`, `pack_invalid`.
 */
export class PackFiles {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async open(directory: string): Promise<PackFiles> {
    const root = await realpath(directory).catch(() => null);
    if (!root || !(await stat(root)).isDirectory())
      throw new SightlineError('pack_not_found', `${directory} is not a directory.`);
    return new PackFiles(root);
  }

  /** Null when there is no such file. */
  async find(name: string, maxBytes: number): Promise<PackFile | null> {
    const file = await realpath(path.join(this.directory, name)).catch(() => null);
    if (!file) return null;
    if (!file.startsWith(this.directory + path.sep)) throw this.invalid(`${name} leads out of the pack`);
    const info = await stat(file);
    if (!info.isFile()) throw this.invalid(`${name} is not a file`);
    if (info.size > maxBytes) throw this.invalid(`${name} has ${info.size} bytes, more than ${maxBytes}`);
    return { file, sizeBytes: info.size };
  }

  /** Null when there is no such file. */
  async readBytes(name: string, maxBytes: number): Promise<Buffer | null> {
    const found = await this.find(name, maxBytes);
    return found && readFile(found.file);
  }

  async readJson(name: string, maxBytes = MAX_JSON_BYTES): Promise<unknown> {
    const bytes = await this.readBytes(name, maxBytes);
    if (!bytes) return null;
    try {
      const value: unknown = JSON.parse(bytes.toString('utf8'));
      if (typeof value !== 'object' || value === null) throw new SyntaxError('not an object or list');
      return value;
    } catch (error) {
      throw this.invalid(`${name} is not JSON (${(error as Error).message})`);
    }
  }

  /** A graph's path, once its external data is known to lie inside the pack; of that nothing is read. Null when there is no such file. */
  async findGraph(name: string): Promise<string | null> {
    return (await this.#graph(name, null))?.file ?? null;
  }

  /** A graph's path, and the SHA-256 of its bytes followed by those of its external data, read as a stream. */
  async hashGraph(name: string): Promise<{ file: string; sha256: string } | null> {
    const hash = createHash('sha256');
    const found = await this.#graph(name, hash);
    return found && { file: found.file, sha256: hash.digest('hex') };
  }

  async #graph(name: string, hash: Hash | null): Promise<PackFile | null> {
    const found = await this.find(name, MAX_GRAPH_BYTES);
    if (!found) return null;
    const locations = await scan(found.file, hash);
    // ONNX Runtime also looks for these conventional names only through the graph; hashing them as well costs nothing.
    for (const suffix of ['_data', '.data']) {
      if (await this.find(name + suffix, MAX_GRAPH_BYTES)) locations.add(path.basename(name) + suffix);
    }
    for (const location of [...locations].sort()) {
      if (!/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(location)) throw this.invalid(`${name} names external data outside its folder`);
      const data = await this.find(path.join(path.dirname(name), location), MAX_GRAPH_BYTES);
      if (!data) throw this.invalid(`${name} needs ${location}, which is missing`);
      hash?.update(`\0${location}\0`);
      if (hash) await scan(data.file, hash);
    }
    return found;
  }

  invalid(detail: string): SightlineError {
    return new SightlineError('pack_invalid', `${path.basename(this.directory)}: ${detail}.`);
  }
}

/** StringStringEntryProto {1: "location", 2: value}: how an ONNX initializer names the file that its data lies in. */
const LOCATION = Buffer.from('\x0a\x08location\x12', 'latin1');
const OVERLAP_BYTES = 512;

/** The external data that a file names; `hash` gets its bytes. */
async function scan(file: string, hash: Hash | null): Promise<Set<string>> {
  const locations = new Set<string>();
  let tail: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(file, { highWaterMark: 4 * 1024 * 1024 }) as AsyncIterable<Buffer>) {
    hash?.update(chunk);
    const window = Buffer.concat([tail, chunk]);
    for (let at = window.indexOf(LOCATION); at >= 0; at = window.indexOf(LOCATION, at + 1)) {
      const length = window[at + LOCATION.length];
      const from = at + LOCATION.length + 1;
      if (length !== undefined && length < 128 && from + length <= window.length)
        locations.add(window.toString('utf8', from, from + length));
    }
    tail = window.subarray(Math.max(0, window.length - OVERLAP_BYTES));
  }
  return locations;
}
