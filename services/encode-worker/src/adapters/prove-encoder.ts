import { rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from 'pino';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { DecodedPicture } from '@sightline/shared/pictures/decoded-picture';
import type { EncoderPack } from '../core/encoder-pack.ts';
import {
  assertSameVector,
  decodePixels,
  encodePixels,
  encodeVector,
  goldenFile,
  MAX_MEAN_PIXEL_DIFFERENCE,
  meanDifference,
  type Golden,
} from '../core/golden.ts';
import { goldenPhotograph, goldenPictures, GOLDEN_TEXTS } from './golden-pictures.ts';
import { cosine } from '../core/pooling.ts';
import { PackFiles } from '@sightline/shared/adapters/pack-files';
import type { Tokens } from './hf-tokenizer.ts';

/** Least cosine between the vectors of a large JPEG decoded with the pack's shrink_on_load and without. */
const MIN_SHRUNK_COSINE = 0.999;
const MAX_GOLDEN_BYTES = 64 * 1024 * 1024;

type Input = { pixels: Uint8Array; widthPx: number; heightPx: number } | { ids: number[] };

export interface ProofDeps {
  /** By the pack's preprocessor, without its multi-scale setting: one crop. */
  decode(bytes: Uint8Array): Promise<DecodedPicture>;
  /** As `decode`, without the pack's shrink_on_load. */
  decodeExactly(bytes: Uint8Array): Promise<DecodedPicture>;
  tokenize(tower: 'imageText' | 'text', text: string): Tokens;
  encode(graph: 'vision' | 'imageText' | 'text', input: Input): Promise<Float32Array | null>;
  logger: Logger;
}

export interface ProofReport {
  origin: Golden['origin'] | 'recorded-now';
  leastCosine: number;
}

/** What is proved: a dual encoder's directory, or a text encoder's. */
export interface ProofSubject {
  directory: string;
  variant: string;
  /** Digest of the graphs in use. */
  graphs: string;
  isText: boolean;
}

/**
 * Holds a loaded encoder against its golden vectors: recorded pixels and texts must give the recorded vectors, the recorded
 * picture files must still decode to the recorded pixels, the texts to the recorded token ids. A pack without `golden.json`
 * gets one from this very run, marked self-recorded. Errors: `pack_drifted`, `pack_invalid`.
 */
export async function proveEncoder(pack: EncoderPack, deps: ProofDeps): Promise<ProofReport> {
  const graphs = `${pack.vision.sha256}+${pack.imageText.graph.sha256}`;
  if (pack.plan.shrinkOnLoad) await proveShrinking(deps);
  const own = await proveDirectory({ directory: pack.directory, variant: pack.variant, graphs, isText: false }, deps);
  if (!pack.textPackDirectory) return own;
  const { variant, sha256 } = pack.text.graph;
  const text = await proveDirectory({ directory: pack.textPackDirectory, variant, graphs: sha256, isText: true }, deps);
  return { origin: own.origin, leastCosine: Math.min(own.leastCosine, text.leastCosine) };
}

/** A large JPEG gives nearly the vector that it gives when every pixel of it is decoded. */
async function proveShrinking(deps: ProofDeps): Promise<void> {
  const bytes = await goldenPhotograph();
  const [exact, shrunk] = await Promise.all(
    [await deps.decodeExactly(bytes), await deps.decode(bytes)].map((decoded) => {
      const { width, height } = squareOf(decoded);
      return encodeOne(deps, 'vision', { pixels: decoded.pixels, widthPx: width, heightPx: height }, 'the large JPEG');
    }),
  );
  const similarity = cosine(exact!, shrunk!);
  if (similarity >= MIN_SHRUNK_COSINE) return;
  throw new SightlineError(
    'pack_drifted',
    `shrink_on_load moves a large JPEG to a cosine of ${similarity.toFixed(6)}, at least ${MIN_SHRUNK_COSINE} is wanted: leave it out of sightline.json.`,
  );
}

/** One directory's share of the proof. Errors: `pack_drifted`, `pack_invalid`. */
export async function proveDirectory(
  { directory, variant, graphs, isText }: ProofSubject,
  deps: ProofDeps,
): Promise<ProofReport> {
  const files = await PackFiles.open(directory);
  const json = await files.readJson('golden.json', MAX_GOLDEN_BYTES);
  const parsed = json === null ? null : goldenFile.safeParse(json);
  if (parsed && !parsed.success) throw files.invalid(`golden.json: ${parsed.error.message.slice(0, 500)}`);
  const golden = isStale(parsed?.data, variant, graphs) ? null : (parsed?.data ?? null);
  if (golden && (golden.origin === 'reference' || golden.vectors[variant] || golden.vectors['fp32'])) {
    return { origin: golden.origin, leastCosine: await compare(golden, variant, isText, deps) };
  }
  const recorded = golden ?? (await blankGolden(isText, deps));
  recorded.vectors[variant] = await recordVectors(recorded, isText, deps);
  recorded.graphs = { ...recorded.graphs, [variant]: graphs };
  await save(path.join(directory, 'golden.json'), recorded, deps.logger);
  return { origin: 'recorded-now', leastCosine: 1 };
}

/** A self-recorded file only speaks of the graphs it was recorded from. A reference is never set aside. */
function isStale(golden: Golden | undefined, variant: string, graphs: string): boolean {
  return golden?.origin === 'self-recorded' && golden.graphs?.[variant] !== undefined && golden.graphs[variant] !== graphs;
}

async function compare(golden: Golden, variant: string, isText: boolean, deps: ProofDeps): Promise<number> {
  let least = 1;
  for (const picture of golden.pictures) {
    const pixels = decodePixels(picture);
    const vector = await encodeOne(deps, 'vision', { pixels, widthPx: picture.width, heightPx: picture.height }, picture.id);
    least = Math.min(least, assertSameVector(golden, variant, picture.id, vector));
    if (!picture.source) continue;
    const difference = meanDifference((await deps.decode(Buffer.from(picture.source, 'base64'))).pixels, pixels);
    if (difference > MAX_MEAN_PIXEL_DIFFERENCE) {
      throw new SightlineError(
        'pack_drifted',
        `${picture.id} decodes to other pixels: ${difference.toFixed(2)} grey levels apart on average, at most ${MAX_MEAN_PIXEL_DIFFERENCE} are allowed.`,
      );
    }
  }
  for (const text of golden.texts) {
    const tower = towerOf(text.space, isText);
    const { ids } = deps.tokenize(tower, text.text);
    if (ids.length !== text.ids.length || ids.some((token, n) => token !== text.ids[n])) {
      throw new SightlineError('pack_drifted', `${text.id} is tokenised to ${ids.join(' ')}, not to ${text.ids.join(' ')}.`);
    }
    least = Math.min(least, assertSameVector(golden, variant, text.id, await encodeOne(deps, tower, { ids }, text.id)));
  }
  return least;
}

async function blankGolden(isText: boolean, deps: ProofDeps): Promise<Golden> {
  const pictures: Golden['pictures'] = [];
  for (const { id, bytes } of isText ? [] : await goldenPictures()) {
    const decoded = await deps.decode(bytes);
    const { width, height } = squareOf(decoded);
    pictures.push({ id, source: bytes.toString('base64'), width, height, ...encodePixels(decoded.pixels) });
  }
  const space = isText ? 'text' : 'image';
  const texts = GOLDEN_TEXTS.map(
    (text, n) => ({ id: `text-${n + 1}`, space, text, ids: deps.tokenize(towerOf(space, isText), text).ids }) as const,
  );
  return {
    format: 1,
    origin: 'self-recorded',
    made_with: `sightline, node ${process.versions.node}, sharp, onnxruntime-node`,
    pictures,
    texts,
    vectors: {},
  };
}

async function recordVectors(golden: Golden, isText: boolean, deps: ProofDeps): Promise<Record<string, string>> {
  const vectors: Record<string, string> = {};
  for (const picture of golden.pictures) {
    vectors[picture.id] = encodeVector(
      await encodeOne(
        deps,
        'vision',
        { pixels: decodePixels(picture), widthPx: picture.width, heightPx: picture.height },
        picture.id,
      ),
    );
  }
  for (const text of golden.texts)
    vectors[text.id] = encodeVector(await encodeOne(deps, towerOf(text.space, isText), { ids: text.ids }, text.id));
  return vectors;
}

async function encodeOne(
  deps: ProofDeps,
  graph: 'vision' | 'imageText' | 'text',
  input: Input,
  name: string,
): Promise<Float32Array> {
  const vector = await deps.encode(graph, input);
  if (!vector) throw new SightlineError('pack_drifted', `${name} gives no usable vector.`);
  return vector;
}

/** In a dual encoder's golden file every text goes through its own tower; `space: text` is a text pack's. */
function towerOf(space: 'image' | 'text', isText: boolean): 'imageText' | 'text' {
  return isText && space === 'text' ? 'text' : 'imageText';
}

function squareOf(decoded: DecodedPicture): { width: number; height: number } {
  const edge = Math.sqrt(decoded.pixels.length / 3 / decoded.crops);
  return { width: edge, height: edge };
}

async function save(file: string, golden: Golden, logger: Logger): Promise<void> {
  try {
    await writeFile(`${file}.part`, `${JSON.stringify(golden, null, 1)}\n`);
    await rename(`${file}.part`, file);
    logger.warn({ file }, 'the pack had no golden vectors; they were recorded from this run, so they prove only later ones');
  } catch (error) {
    logger.warn(
      { err: error, file },
      'the pack has no golden vectors and its directory cannot be written: nothing proves this encoder',
    );
  }
}
