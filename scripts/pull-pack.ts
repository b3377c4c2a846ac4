import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { VARIANTS, type Variant } from '@sightline/encode-worker/adapters/pack-reader';
import { packDirectoryName } from '@sightline/shared/adapters/find-pack';
import { SightlineError } from '@sightline/shared/runtime/errors';

/** One file on the hub. `oid` is git's blob id (SHA-1 of a header and the bytes); a large file's `lfs.oid` is its SHA-256. */
const treeEntry = z.object({
  type: z.string(),
  path: z.string(),
  size: z.int().nonnegative(),
  oid: z.string(),
  lfs: z.object({ oid: z.string().regex(/^[0-9a-f]{64}$/), size: z.int().nonnegative() }).optional(),
});
type TreeEntry = z.infer<typeof treeEntry>;

const SMALL_FILES = [
  'config.json',
  'preprocessor_config.json',
  'processor_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'modules.json',
  'sentence_bert_config.json',
  'config_sentence_transformers.json',
  '1_Pooling/config.json',
  'sightline.json',
  'golden.json',
  'calibration.json',
  'README.md',
  'LICENSE',
];
const MAX_FILE_BYTES = 8 * 1024 ** 3;
const MAX_PACK_BYTES = 16 * 1024 ** 3;
const MAX_TREE_PAGES = 50;

export interface PullOptions {
  repo: string;
  revision: string;
  variants: Variant[];
  endpoint: string;
  token: string | undefined;
  /** The folder that packs lie in. */
  into: string;
  report: (line: string) => void;
}

/**
 * Fetches the files that a pack needs, and no others, into `into`. Resumes what an earlier run left half done; checks every
 * file against the hub's digest; the pack appears under its name only when it is whole. Answers its directory.
 */
export async function pullPack(options: PullOptions): Promise<string> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*\/[A-Za-z0-9][A-Za-z0-9._-]*$/.test(options.repo))
    throw new SightlineError('pack_not_found', `${options.repo} is not of the form org/name.`);
  const commit = await resolveRevision(options);
  const entries = choose(await listTree(options, commit), options.variants);
  const total = entries.reduce((sum, entry) => sum + entry.size, 0);
  if (total > MAX_PACK_BYTES || entries.some((entry) => entry.size > MAX_FILE_BYTES))
    throw new SightlineError('pack_invalid', `${options.repo} is ${total} bytes large.`);
  options.report(`${options.repo} at ${commit.slice(0, 12)}: ${entries.length} files, ${(total / 1e6).toFixed(1)} MB`);

  const target = path.join(options.into, packDirectoryName(options.repo));
  const partial = path.join(options.into, `.${packDirectoryName(options.repo)}.${commit.slice(0, 12)}.partial`);
  await mkdir(partial, { recursive: true });
  for (const entry of entries) await fetchFile(options, commit, entry, partial);
  await writeFile(
    path.join(partial, 'source.json'),
    `${JSON.stringify({ repo: options.repo, commit, endpoint: options.endpoint }, null, 2)}\n`,
  );
  // Swapped in at the end: a reader sees the old pack or the new one, never a mixture.
  const old = `${partial}.old`;
  await rm(old, { recursive: true, force: true });
  await rename(target, old).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  await rename(partial, target);
  await rm(old, { recursive: true, force: true });
  return target;
}

/** A branch or tag as the commit it stands for, so that all files are of one state. */
async function resolveRevision(options: PullOptions): Promise<string> {
  const response = await request(options, `/api/models/${options.repo}/revision/${encodeURIComponent(options.revision)}`);
  const parsed = z.object({ sha: z.string().regex(/^[0-9a-f]{40}$/) }).safeParse(await response.json());
  if (!parsed.success)
    throw new SightlineError('pack_invalid', `${options.endpoint} does not say which commit ${options.revision} is.`);
  return parsed.data.sha;
}

async function listTree(options: PullOptions, commit: string): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = [];
  let next: string | null = `/api/models/${options.repo}/tree/${commit}?recursive=true`;
  for (let page = 0; next; page++) {
    if (page === MAX_TREE_PAGES) throw new SightlineError('pack_invalid', `${options.repo} has too many files.`);
    const response: Response = await request(options, next);
    entries.push(...z.array(treeEntry).parse(await response.json()));
    const link = /<([^>]+)>;\s*rel="next"/.exec(response.headers.get('link') ?? '')?.[1];
    next = link ? new URL(link, options.endpoint).pathname + new URL(link, options.endpoint).search : null;
  }
  return entries.filter((entry) => entry.type === 'file');
}

/** The small files there are, and the wanted variants' graphs with their external data; golden vectors need fp32 besides. */
function choose(tree: TreeEntry[], variants: Variant[]): TreeEntry[] {
  const graphs = variants.flatMap((variant) => {
    const suffix = VARIANTS[variant];
    const named = (stem: string) =>
      tree.filter(
        ({ path: p }) =>
          p === `onnx/${stem}${suffix}.onnx` ||
          p.startsWith(`onnx/${stem}${suffix}.onnx_data`) ||
          p === `onnx/${stem}${suffix}.onnx.data`,
      );
    const towers = [...named('vision_model'), ...named('text_model')];
    const found = towers.length >= 2 ? towers : named('model');
    if (found.length === 0)
      throw new SightlineError(
        'pack_invalid',
        `There are no ONNX graphs of variant ${variant}; there are: ${
          tree
            .filter(({ path: p }) => p.endsWith('.onnx'))
            .map(({ path: p }) => p)
            .join(', ') || 'none'
        }.`,
      );
    return found;
  });
  const small = tree.filter((entry) => SMALL_FILES.includes(entry.path));
  for (const needed of ['config.json', 'tokenizer.json']) {
    if (!small.some((entry) => entry.path === needed)) throw new SightlineError('pack_invalid', `It has no ${needed}.`);
  }
  return [...small, ...new Set(graphs)];
}

async function fetchFile(options: PullOptions, commit: string, entry: TreeEntry, folder: string): Promise<void> {
  const file = path.join(folder, entry.path);
  if (!file.startsWith(folder + path.sep)) throw new SightlineError('pack_invalid', `${entry.path} leads out of the pack.`);
  await mkdir(path.dirname(file), { recursive: true });
  if ((await stat(file).catch(() => null))?.size === entry.size && (await isIntact(file, entry))) return;
  const part = `${file}.part`;
  for (let attempt = 1; ; attempt++) {
    try {
      await download(options, commit, entry, part);
      break;
    } catch (error) {
      if (attempt === 5 || error instanceof SightlineError) throw error;
      options.report(`${entry.path}: ${(error as Error).message}; going on from where it stopped`);
      await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** attempt));
    }
  }
  if (!(await isIntact(part, entry))) {
    await rm(part);
    throw new SightlineError('pack_invalid', `${entry.path} does not have the digest that the hub says.`);
  }
  await rename(part, file);
  options.report(`${entry.path}  ${(entry.size / 1e6).toFixed(1)} MB`);
}

async function download(options: PullOptions, commit: string, entry: TreeEntry, part: string): Promise<void> {
  const had = Math.min((await stat(part).catch(() => null))?.size ?? 0, entry.size);
  if (had === entry.size && had > 0) return;
  const route = `/${options.repo}/resolve/${commit}/${entry.path.split('/').map(encodeURIComponent).join('/')}`;
  const response = await request(options, route, had > 0 ? { range: `bytes=${had}-` } : {});
  if (!response.body) throw new Error('no body');
  const from = response.status === 206 ? had : 0;
  let received = from;
  const counted = async function* (source: AsyncIterable<Uint8Array>) {
    for await (const bytes of source) {
      received += bytes.length;
      if (received > entry.size) throw new SightlineError('pack_invalid', `${entry.path} is longer than the hub says.`);
      yield bytes;
    }
  };
  await pipeline(Readable.fromWeb(response.body), counted, createWriteStream(part, { flags: from > 0 ? 'a' : 'w' }));
  if (received < entry.size) throw new Error(`stopped at ${received} of ${entry.size} bytes`);
}

async function isIntact(file: string, entry: TreeEntry): Promise<boolean> {
  // Git's blob id covers small files; what lies in LFS has its SHA-256.
  const hash = entry.lfs ? createHash('sha256') : createHash('sha1').update(`blob ${entry.size}\0`);
  const handle = await open(file);
  for await (const bytes of handle.createReadStream()) hash.update(bytes as Buffer);
  return hash.digest('hex') === (entry.lfs?.oid ?? entry.oid);
}

async function request(options: PullOptions, route: string, headers: Record<string, string> = {}): Promise<Response> {
  const url = new URL(options.endpoint.replace(/\/$/, '') + route);
  // fetch drops the authorization header by itself when a redirect leads to another origin.
  const response = await fetch(url, {
    headers: { ...headers, ...(options.token ? { authorization: `Bearer ${options.token}` } : {}) },
    signal: AbortSignal.timeout(30 * 60_000),
  }).catch((error: unknown) => {
    throw new SightlineError('hub_unavailable', `${url.origin}: set HF_ENDPOINT to a mirror, or copy the pack into models/.`, {
      cause: error,
    });
  });
  if (response.ok) return response;
  await response.body?.cancel();
  if (response.status === 404 || response.status === 401 || response.status === 403)
    throw new SightlineError(
      'pack_not_found',
      `${url.href} answers ${response.status}${response.status === 404 ? '' : ' (HF_TOKEN opens private and gated repositories)'}.`,
    );
  throw new SightlineError('hub_unavailable', `${url.href} answers ${response.status}.`);
}
