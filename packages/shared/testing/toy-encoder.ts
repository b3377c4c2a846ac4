import sharp from 'sharp';
import type { EncodeQueryResult, JobData } from '../src/contracts/jobs.ts';
import type { ObjectStore } from '../src/ports/object-store.ts';
import { SYSTEM_BUCKET } from '../src/contracts/ids.ts';
import type { IndexSpec } from '../src/ports/vector-index.ts';
import { analyse } from '../src/retrieval/analyser.ts';

const TEXT_DIMENSIONS = 64;

export const toySpec: IndexSpec = {
  image: { fingerprint: 'toy-image', dimensions: 4 },
  text: { fingerprint: 'toy-text', dimensions: TEXT_DIMENSIONS },
};

const COLOURS: Record<string, [number, number, number]> = {
  red: [1, 0, 0],
  green: [0, 1, 0],
  blue: [0, 0, 1],
  yellow: [1, 1, 0],
  purple: [1, 0, 1],
};

function unit(values: number[]): Float32Array {
  const length = Math.hypot(...values);
  return Float32Array.from(values, (value) => (length === 0 ? 0 : value / length));
}

/** A visual space in which colours and their names lie together: enough to tell right answers from wrong ones without a model. */
export function encodeColour([r, g, b]: [number, number, number]): Float32Array {
  return unit([r, g, b, 0.3]);
}

export function encodeWordsInImageSpace(words: string): Float32Array {
  const sum = [0, 0, 0, 0.3];
  for (const word of words.toLowerCase().split(/\W+/)) COLOURS[word]?.forEach((value, i) => (sum[i] = (sum[i] ?? 0) + value));
  return unit(sum);
}

/** Hashed bag of words. */
export function encodeText(text: string): Float32Array {
  const counts = Array.from({ length: TEXT_DIMENSIONS }, () => 0.01);
  for (const token of analyse(text)) {
    let hash = 7;
    for (const char of token) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) % 1_000_003;
    counts[hash % TEXT_DIMENSIONS] = (counts[hash % TEXT_DIMENSIONS] ?? 0) + 1;
  }
  return unit(counts);
}

export async function encodePicture(bytes: Uint8Array): Promise<Float32Array> {
  const { channels } = await sharp(bytes).removeAlpha().toColourspace('srgb').stats();
  const [r = 0, g = 0, b = 0] = channels.map((channel) => channel.mean / 255);
  return encodeColour([r, g, b]);
}

/** The encode worker's answer to `encode-query`. */
export async function answerEncodeQuery(data: JobData<'encode-query'>, store: ObjectStore): Promise<EncodeQueryResult> {
  const picture = data.pictureKey
    ? (await store.get({ bucket: SYSTEM_BUCKET, key: data.pictureKey }, { maxBytes: 1e7 })).bytes
    : null;
  return {
    ...(data.query === undefined
      ? {}
      : { wordsInImageSpace: [...encodeWordsInImageSpace(data.query)], wordsInTextSpace: [...encodeText(data.query)] }),
    ...(data.passage === undefined ? {} : { passageInTextSpace: [...encodeText(data.passage)] }),
    ...(picture ? { pictureInImageSpace: [...(await encodePicture(picture))] } : {}),
    logitScale: 20,
    warnings: [],
    encodeMs: 0,
  };
}
