/** Writes a set of LLaVA's instruction form: into a folder beside the wanted one, which takes its name when the set is whole. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { splitExamples } from '@sightline/generate-worker/core/training/split-examples';

/** An example with its pictures' files, and what is written down of where it comes from. */
export interface SetExample {
  id: string;
  system: string | null;
  /** The parts of the turn, `<image>` for each picture. */
  human: string[];
  gpt: string;
  /** The frame that boxes in `gpt` are in. */
  boxFrame: string;
  /** Names within `images/`, in the order of the `<image>`s. */
  images: string[];
  /** Examples that share one stay on one side of the split. */
  groupKeys: string[];
  /** Of two examples with the same the later is kept. */
  sameAs: string;
  provenance: Record<string, unknown>;
}

export interface SetCounts {
  train: number;
  test: number;
  duplicates: number;
  images: number;
}

export class LlavaSetWriter {
  readonly #out: string;
  readonly #folder: string;
  readonly #lines: FileHandle;
  readonly #files = new Set<string>();
  /** Of each line what it is wanted by. */
  readonly #index: Pick<SetExample, 'id' | 'sameAs' | 'groupKeys'>[] = [];
  /** Of each id the line that holds; null where none does. */
  readonly #latest = new Map<string, number | null>();

  private constructor(out: string, folder: string, lines: FileHandle) {
    this.#out = out;
    this.#folder = folder;
    this.#lines = lines;
  }

  /** Throws when there is something at `out` already. */
  static async open(out: string): Promise<LlavaSetWriter> {
    const there = await readdir(out).catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
      throw new Error(`${out} is no folder that a set can be written to.`, { cause: error });
    });
    if (there && there.length > 0) throw new Error(`${out} is not empty: name a folder that is not there yet.`);
    await mkdir(dirname(out), { recursive: true });
    const folder = join(dirname(out), `.${basename(out)}-${randomUUID()}`);
    await mkdir(join(folder, IMAGES), { recursive: true });
    return new LlavaSetWriter(out, folder, await open(join(folder, EXAMPLES), 'w+'));
  }

  /** Answers its name within `images/`, which is made of its content alone. */
  async addPicture({ bytes, mediaType }: { bytes: Buffer; mediaType: 'image/png' | 'image/jpeg' }): Promise<string> {
    const name = `${createHash('sha256').update(bytes).digest('hex')}.${mediaType === 'image/png' ? 'png' : 'jpg'}`;
    if (!this.#files.has(name)) await writeFile(join(this.#folder, IMAGES, name), bytes);
    this.#files.add(name);
    return name;
  }

  /** Takes the place of a former one of that id. */
  async addExample(example: SetExample): Promise<void> {
    const { id, sameAs, groupKeys } = example;
    this.#latest.set(id, this.#index.length);
    this.#index.push({ id, sameAs, groupKeys });
    await this.#lines.write(jsonLine(example));
  }

  /** A former one of that id does not hold any more. */
  leaveOut(id: string): void {
    this.#latest.set(id, null);
  }

  /** Splits, writes the set, and gives it its name. `about`: what stands in `export.json` beside the counts. */
  async finish(share: number, about: Record<string, unknown>): Promise<SetCounts> {
    const held = [...this.#index.entries()].filter(([line, { id }]) => this.#latest.get(id) === line);
    const kept = new Map(held.map(([line, { sameAs }]) => [sameAs, line]));
    const lines = new Set(kept.values());
    const wanted = held.filter(([line]) => lines.has(line));
    const testing = splitExamples(new Map(wanted.map(([, { id, groupKeys }]) => [id, groupKeys])), share);
    const files = { train: await JsonArray.open(this.#at('train.json')), test: await JsonArray.open(this.#at('test.json')) };
    const provenance = await open(this.#at('provenance.jsonl'), 'w');
    const counts: SetCounts = { train: 0, test: 0, duplicates: held.length - wanted.length, images: 0 };
    const used = new Set<string>();
    for await (const example of this.#examples(lines)) {
      const split = testing.has(example.id) ? 'test' : 'train';
      counts[split]++;
      for (const image of example.images) used.add(image);
      await files[split].add(entryOf(example));
      await provenance.write(jsonLine({ id: example.id, split, ...example.provenance }));
    }
    await Promise.all([files.train.end(), files.test.end(), provenance.close(), this.#lines.close()]);
    for (const name of this.#files) if (!used.has(name)) await rm(join(this.#folder, IMAGES, name));
    counts.images = used.size;
    await writeFile(this.#at('export.json'), `${JSON.stringify({ ...about, split: share, ...counts }, null, 2)}\n`);
    await rm(this.#at(EXAMPLES));
    await rename(this.#folder, this.#out);
    return counts;
  }

  /** Leaves nothing of an export that did not come to its end. */
  async discard(): Promise<void> {
    await this.#lines.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #at(name: string): string {
    return join(this.#folder, name);
  }

  async *#examples(wanted: ReadonlySet<number>): AsyncGenerator<SetExample> {
    let line = 0;
    for await (const text of this.#lines.readLines({ start: 0, autoClose: false }))
      // Written by addExample.
      if (wanted.has(line++)) yield JSON.parse(text) as SetExample;
  }
}

const EXAMPLES = 'examples.jsonl';
const IMAGES = 'images';

function entryOf({ id, system, human, gpt, images }: SetExample) {
  const [first = ''] = images;
  return {
    id,
    image: images.length === 1 ? first : images,
    ...(system !== null && { system }),
    conversations: [
      { from: 'human', value: human.join('\n'), parts: human },
      { from: 'gpt', value: gpt },
    ],
  };
}

/** On one line for every reader: U+2028 and U+2029 end a line for some. */
function jsonLine(value: unknown): string {
  const json = JSON.stringify(value).replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029');
  return `${json}\n`;
}

/** A JSON array in a file, an entry a line. */
class JsonArray {
  readonly #file: FileHandle;
  #isEmpty = true;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async open(path: string): Promise<JsonArray> {
    return new JsonArray(await open(path, 'w'));
  }

  async add(entry: unknown): Promise<void> {
    await this.#file.write(`${this.#isEmpty ? '[\n' : ',\n'}${JSON.stringify(entry)}`);
    this.#isEmpty = false;
  }

  async end(): Promise<void> {
    await this.#file.write(this.#isEmpty ? '[]\n' : '\n]\n');
    await this.#file.close();
  }
}
