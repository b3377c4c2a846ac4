import { constants, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { SETTINGS } from '@sightline/embedded/config';
import { ENCODER_SETTINGS } from '@sightline/encode-worker/config';
import { GENERATOR_SETTINGS } from '@sightline/generate-worker/config';
import { freePort } from '@sightline/shared/testing/free-port';
import { seeded } from '@sightline/shared/testing/seeded';
import { ApiClient } from '../api-client.ts';
import { ingest, printSummary, sourceOf } from '../ingest.ts';
import { ServiceProcess } from '../service-process.ts';
import { familyOfItem, type QuestionSet, type SetItem } from './question-set.ts';

const READY_MS = 120_000;

/** No engine, folder or rule of the environment's: a set never goes into a stack that is in use. An empty variable counts as absent. */
const ALONE = Object.fromEntries(
  Object.values(SETTINGS)
    .filter(
      ({ variable }) =>
        ![...Object.values(ENCODER_SETTINGS), ...Object.values(GENERATOR_SETTINGS)].some((one) => one.variable === variable),
    )
    .map(({ variable }) => [variable, '']),
);

/** A stack of this evaluation alone, with the set in it. */
export interface EvaluationStack {
  client: ApiClient;
  pid: number;
  /** Ends it and removes what it kept. */
  close(): Promise<void>;
}

/**
 * The embedded stack in a process of its own, on a data directory that goes with it, with the manifest ingested. The environment says which
 * encoder pack and model it has, as for `npm run up`. Error: what could not be ingested.
 */
export async function openEvaluationStack(manifest: string): Promise<EvaluationStack> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sightline-evaluation-'));
  const port = await freePort();
  const plan = { name: 'embedded', service: 'embedded' as const, env: {} };
  const env = { ...ALONE, DATA_DIR: dataDir, PORT: String(port), LOG_LEVEL: 'warn' };
  const stack = new ServiceProcess(plan, { env, healthPort: port });
  const close = async () => {
    await stack.stop();
    await rm(dataDir, { recursive: true, force: true });
  };
  try {
    await stack.ready(READY_MS);
    const client = new ApiClient(`http://127.0.0.1:${port}`);
    const ended = await ingest(client, await sourceOf(manifest));
    if (ended.status !== 'completed' || ended.counts.failed > 0) await printSummary(client, ended);
    if (ended.status !== 'completed') throw new Error('The set was not ingested.');
    return { client, pid: stack.pid, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * The set's manifest in a folder of its own where each item has another's pictures, of the same family and as many, under its own pictures'
 * names: records and names stay, what is to be seen does not. Within such a group the pictures go round a seeded circle, so that none stays
 * where it was; an item that is alone in it keeps its own. Answers the manifest and how many items have other pictures.
 */
export async function shuffledManifest(
  set: QuestionSet,
  seed: number,
): Promise<{ manifest: string; moved: number; remove: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-shuffled-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const takenFrom = circle(set.items, seed);
    for (const path of new Set([...set.items.values()].flatMap(({ images }) => images))) {
      const target = resolve(folder, path);
      if (!target.startsWith(`${folder}/`)) throw new Error(`The picture ${path} lies outside the set.`);
      await mkdir(dirname(target), { recursive: true });
      // Not a hard link: that changes the file's state, and a stack that serves the folder would take every picture for a new one.
      await copyFile(join(set.dir, takenFrom.get(path) ?? path), target, constants.COPYFILE_FICLONE);
    }
    const manifest = join(folder, 'manifest.jsonl');
    await writeFile(manifest, [...set.items.values()].map((item) => `${JSON.stringify(item)}\n`).join(''));
    const isMoved = (path: string): boolean => takenFrom.get(path) !== path;
    const moved = [...set.items.values()].filter(({ images }) => images.length > 0 && images.every(isMoved)).length;
    return { manifest, moved, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Whose picture stands in each place: items of a family with as many pictures pass all of theirs on to the next. */
function circle(items: ReadonlyMap<string, SetItem>, seed: number): Map<string, string> {
  const all = [...items.values()].filter(({ images }) => images.length > 0);
  const taken = new Map<string, string>();
  const { shuffled } = seeded(seed);
  for (const group of Map.groupBy(all, (item) => `${item.images.length} ${familyOfItem(item) ?? ''}`).values()) {
    const lists = shuffled([...new Map(group.map(({ images }) => [images.join('\n'), images])).values()]);
    lists.forEach((images, i) => images.forEach((path, n) => taken.set(path, lists[(i + 1) % lists.length]?.[n] ?? path)));
  }
  return taken;
}
