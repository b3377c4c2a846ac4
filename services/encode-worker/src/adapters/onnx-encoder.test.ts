import { fork } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import pino from 'pino';
import sharp from 'sharp';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { BatchReport } from '../core/batch-scheduler.ts';
import { cosine } from '../core/pooling.ts';
import { goldenPhotograph } from './golden-pictures.ts';
import { openOnnxEncoder, type OnnxEncoder, type OnnxEncoderOptions } from './onnx-encoder.ts';

const PACKS = path.resolve(import.meta.dirname, '../../../../test/fixtures/packs');
const logger = pino({ level: 'silent' });
const closers: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function openPack(packDir: string, options: Partial<OnnxEncoderOptions> = {}): Promise<OnnxEncoder> {
  const encoder = await openOnnxEncoder({ packDir, threads: 1, logger, ...options });
  closers.push(() => encoder.close());
  return encoder;
}

/** A copy of a fixture pack beside copies of its neighbours, to be spoilt. */
function copyOf(name: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'sightline-pack-'));
  closers.push(() => rmSync(folder, { recursive: true }));
  cpSync(path.join(PACKS, name), path.join(folder, name), { recursive: true });
  return path.join(folder, name);
}

const writeJson = (packDir: string, name: string, value: unknown) =>
  writeFileSync(path.join(packDir, name), JSON.stringify(value));
const codeOf = (error: unknown) => (error instanceof SightlineError ? error.code : error);
const picture = (background: string, width = 60, height = 40) =>
  sharp({ create: { width, height, channels: 3, background } })
    .composite([{ input: { create: { width: 20, height: 10, channels: 3, background: '#fff' } }, left: 3, top: 5 }])
    .png()
    .toBuffer();

test.each(['tiny-clip', 'tiny-siglip'])('%s gives the vectors that PyTorch and transformers give', async (name) => {
  const encoder = await openPack(path.join(PACKS, name));
  expect(encoder.proof.origin).toBe('reference');
  expect(encoder.proof.leastCosine).toBeGreaterThan(0.9999);
});

test.each(['fp16', 'quantized'] as const)('the %s variant is proven against goldens of its own', async (variant) => {
  const encoder = await openPack(path.join(PACKS, 'tiny-clip'), { variant });
  expect(encoder.proof.leastCosine).toBeGreaterThan(0.99);
  const other = await openPack(path.join(PACKS, 'tiny-clip'));
  expect(encoder.spec.image.fingerprint).not.toBe(other.spec.image.fingerprint);
});

test('both towers may lie in one graph', async () => {
  const packDir = copyOf('tiny-clip');
  for (const tower of ['vision', 'text'])
    for (const suffix of ['', '_fp16', '_quantized']) rmSync(path.join(packDir, `onnx/${tower}_model${suffix}.onnx`));
  expect((await openPack(packDir)).proof.leastCosine).toBeGreaterThan(0.9999);
});

test('pictures and words come out as unit vectors, the same whatever batch they were in', async () => {
  const encoder = await openPack(path.join(PACKS, 'tiny-clip'));
  const decoded = await Promise.all(
    ['#a33', '#3a3', '#33a'].map((colour) => picture(colour).then((bytes) => encoder.decode(bytes))),
  );
  const many = Array.from({ length: 50 }, (_, n) => decoded[n % 3]!);
  const [outcomes, alone] = await Promise.all([
    encoder.encodePictures(many, { lane: 'bulk' }),
    encoder.encodePictures([decoded[1]!], { lane: 'interactive' }),
  ]);
  if (!alone[0]!.ok) throw alone[0]!.error;
  for (const [n, outcome] of outcomes.entries()) {
    if (!outcome.ok) throw outcome.error;
    expect(Math.hypot(...outcome.value)).toBeCloseTo(1, 5);
    if (n % 3 === 1) expect(cosine(outcome.value, alone[0]!.value)).toBeGreaterThan(0.99999);
  }
  const [short, long] = await encoder.encodeTexts(['red shoe', 'red shoe '.repeat(100)], {
    space: 'text',
    purpose: 'query',
    lane: 'interactive',
  });
  expect([short!.truncated, long!.truncated]).toEqual([false, true]);
  expect(Math.hypot(...short!.vector)).toBeCloseTo(1, 5);
});

test('an encoder whose output drifted refuses to serve', async () => {
  const packDir = copyOf('tiny-clip');
  const golden = JSON.parse(readFileSync(path.join(packDir, 'golden.json'), 'utf8'));
  golden.vectors.fp32['text-1'] = golden.vectors.fp32['text-2'];
  writeJson(packDir, 'golden.json', golden);
  await expect(openPack(packDir).catch(codeOf)).resolves.toBe('pack_drifted');
});

test.each([
  { size: { height: 32, width: 32 } },
  { resample: 2 },
  { resample: 1 },
  { do_center_crop: false, size: { height: 32, width: 32 } },
])('changed preprocessing is found out by the golden pictures: %j', async (change) => {
  const packDir = copyOf('tiny-clip');
  const config = JSON.parse(readFileSync(path.join(packDir, 'preprocessor_config.json'), 'utf8'));
  writeJson(packDir, 'preprocessor_config.json', { ...config, ...change });
  await expect(openPack(packDir).catch(codeOf)).resolves.toBe('pack_drifted');
});

test('a changed tokenizer is found out by the golden texts', async () => {
  const packDir = copyOf('tiny-clip');
  const tokenizer = JSON.parse(readFileSync(path.join(packDir, 'tokenizer.json'), 'utf8'));
  tokenizer.normalizer = null;
  writeJson(packDir, 'tokenizer.json', tokenizer);
  await expect(openPack(packDir).catch(codeOf)).resolves.toBe('pack_drifted');
});

test('a pack without golden vectors records its own, once, and is held against them afterwards', async () => {
  const packDir = copyOf('tiny-clip');
  rmSync(path.join(packDir, 'golden.json'));
  expect((await openPack(packDir)).proof.origin).toBe('recorded-now');
  const golden = JSON.parse(readFileSync(path.join(packDir, 'golden.json'), 'utf8'));
  expect(golden.origin).toBe('self-recorded');
  expect((await openPack(packDir)).proof).toMatchObject({ origin: 'self-recorded' });
  golden.vectors.fp32.tiny = golden.vectors.fp32.large;
  writeJson(packDir, 'golden.json', golden);
  await expect(openPack(packDir).catch(codeOf)).resolves.toBe('pack_drifted');
});

test("a pack may name another one for its text space, with that one's prefixes and pooling", async () => {
  const packDir = copyOf('tiny-clip');
  cpSync(path.join(PACKS, 'tiny-bert'), path.join(packDir, '../tiny-bert'), { recursive: true });
  writeJson(packDir, 'sightline.json', { text_encoder: '../tiny-bert', languages: ['en'], logit_scale: 50 });
  const encoder = await openPack(packDir);
  expect(encoder).toMatchObject({ languages: ['en'], logitScale: 50 });
  expect([encoder.spec.image.dimensions, encoder.spec.text.dimensions]).toEqual([16, 24]);
  const of = async (purpose: 'query' | 'passage') =>
    (await encoder.encodeTexts(['a red shoe'], { space: 'text', purpose, lane: 'bulk' }))[0]!.vector;
  expect(cosine(await of('query'), await of('passage'))).toBeLessThan(0.999);
  const text = 'The blue mug holds 350 ml and is dishwasher safe. '.repeat(40);
  const passages = encoder.splitPassages(text);
  expect(passages.length).toBeGreaterThan(1);
  const encoded = await encoder.encodeTexts(passages, { space: 'text', purpose: 'passage', lane: 'bulk' });
  expect(encoded.map(({ truncated }) => truncated)).toEqual(passages.map(() => false));
});

test.each(['mean', 'concat'] as const)('multi-scale pictures, %s-fused, are searched by words', async (fuse) => {
  const packDir = copyOf('tiny-clip');
  writeJson(packDir, 'sightline.json', { multi_scale: { scales: [32, 48, 64], fuse } });
  const encoder = await openPack(packDir);
  const single = await openPack(path.join(PACKS, 'tiny-clip'));
  expect(encoder.spec.image.fingerprint).not.toBe(single.spec.image.fingerprint);
  expect(encoder.spec.image.dimensions).toBe(fuse === 'concat' ? 48 : 16);
  const decoded = await encoder.decode(await picture('#a33'));
  expect(decoded.crops).toBe(1 + 4 + 4);
  const [outcome] = await encoder.encodePictures([decoded], { lane: 'bulk' });
  if (!outcome!.ok) throw outcome!.error;
  const [words] = await encoder.encodeTexts(['a red shoe'], { space: 'image', purpose: 'query', lane: 'interactive' });
  expect(words!.vector.length).toBe(outcome!.value.length);
  expect(Math.hypot(...outcome!.value)).toBeCloseTo(1, 5);
  expect(Math.hypot(...words!.vector)).toBeCloseTo(1, 5);
});

test('prompt templates are averaged into one vector', async () => {
  const packDir = copyOf('tiny-clip');
  writeJson(packDir, 'sightline.json', { prompt_templates: ['a photo of {}', 'drawing of {}'] });
  const [templated, plain] = [await openPack(packDir), await openPack(path.join(PACKS, 'tiny-clip'))];
  const options = { space: 'image', purpose: 'query', lane: 'interactive' } as const;
  const [vector] = await templated.encodeTexts(['shoe'], options);
  const [one, two] = await plain.encodeTexts(['a photo of shoe', 'drawing of shoe'], options);
  const expected = one!.vector.map((x, n) => x + two!.vector[n]!);
  expect(cosine(vector!.vector, expected)).toBeCloseTo(1, 5);
});

test('when the process is killed, what was under way is done by the next one', async () => {
  const encoder = await openPack(path.join(PACKS, 'tiny-clip'), { sleep: () => Promise.resolve() });
  const decoded = await encoder.decode(await picture('#a33'));
  const first = encoder.pid!;
  const work = encoder.encodePictures(Array(500).fill(decoded), { lane: 'bulk' });
  process.kill(first, 'SIGKILL');
  const outcomes = await work;
  expect(outcomes.filter(({ ok }) => !ok)).toEqual([]);
  expect(encoder.pid).not.toBe(first);
});

test('a process that has grown is replaced and nothing is lost', async () => {
  const encoder = await openPack(path.join(PACKS, 'tiny-clip'), { recycleGrowthBytes: -1 });
  const decoded = await encoder.decode(await picture('#a33'));
  const first = encoder.pid;
  const outcomes = await encoder.encodePictures(Array(12).fill(decoded), { lane: 'bulk' });
  expect(outcomes.every(({ ok }) => ok)).toBe(true);
  expect(encoder.pid).not.toBe(first);
}, 60_000);

test('a search is answered between two bulk batches', async () => {
  const order: BatchReport[] = [];
  const encoder = await openPack(path.join(PACKS, 'tiny-clip'), { observe: (report) => order.push(report) });
  const decoded = await encoder.decode(await picture('#a33'));
  let bulkIsDone = false;
  const bulk = encoder.encodePictures(Array(5000).fill(decoded), { lane: 'bulk' }).then(() => (bulkIsDone = true));
  await encoder.encodeTexts(['a red shoe'], { space: 'image', purpose: 'query', lane: 'interactive' });
  expect(bulkIsDone).toBe(false);
  await bulk;
  const at = order.findIndex(({ lane }) => lane === 'interactive');
  // The one being computed and the one already finished beside it at most.
  expect(at).toBeGreaterThanOrEqual(0);
  expect(at).toBeLessThanOrEqual(2);
});

test('an aborted request is given up', async () => {
  const encoder = await openPack(path.join(PACKS, 'tiny-clip'));
  const decoded = await encoder.decode(await picture('#a33'));
  const abort = new AbortController();
  const work = encoder.encodePictures(Array(2000).fill(decoded), { lane: 'bulk', signal: abort.signal });
  abort.abort(new Error('enough'));
  await expect(work).rejects.toThrow('enough');
});

test('a provider that this machine lacks is a clear error', async () => {
  await expect(openPack(path.join(PACKS, 'tiny-clip'), { executionProviders: ['webgpu'] }).catch(codeOf)).resolves.toBe(
    'config_invalid',
  );
});

test('CUDA alone is an error where it cannot be had, and the CPU is taken only where it is named after it', async () => {
  const packDir = path.join(PACKS, 'tiny-clip');
  // On a machine with a GPU both of them open.
  const alone = await openPack(packDir, { executionProviders: ['cuda'] }).catch((error: unknown) => error);
  const withCpu = await openPack(packDir, { executionProviders: ['cuda', 'cpu'] });
  expect(withCpu.proof.leastCosine).toBeGreaterThan(0.999);
  if (alone instanceof Error)
    expect(alone).toMatchObject({ code: 'config_invalid', message: expect.stringContaining('EXECUTION_PROVIDERS=cuda') });
});

test('a pack may shrink JPEGs while it loads them: its fingerprint is another, and the vector nearly the same', async () => {
  const packDir = copyOf('tiny-clip');
  writeJson(packDir, 'sightline.json', { shrink_on_load: 2 });
  rmSync(path.join(packDir, 'golden.json'));
  const [exact, shrinking] = [await openPack(path.join(PACKS, 'tiny-clip')), await openPack(packDir)];
  expect(shrinking.spec.image.fingerprint).not.toBe(exact.spec.image.fingerprint);
  const photograph = await goldenPhotograph();
  const [a, b] = await Promise.all([exact, shrinking].map((encoder) => encoder.decode(photograph)));
  expect(Buffer.compare(a!.pixels, b!.pixels)).not.toBe(0);
  const [one, other] = await exact.encodePictures([a!, b!], { lane: 'bulk' });
  if (!one?.ok || !other?.ok) throw new Error('not encoded');
  expect(cosine(one.value, other.value)).toBeGreaterThan(0.999);
});

test('the encoder process ends when its parent is killed', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'sightline-parent-'));
  closers.push(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'parent.mjs');
  writeFileSync(
    file,
    `import { openOnnxEncoder } from ${JSON.stringify(path.join(import.meta.dirname, 'onnx-encoder.ts'))};
     const logger = { info() {}, warn() {}, error() {} };
     const encoder = await openOnnxEncoder({ packDir: ${JSON.stringify(path.join(PACKS, 'tiny-clip'))}, threads: 1, logger });
     process.send(encoder.pid);`,
  );
  const parent = fork(file, [], { execArgv: [] });
  const pid = await new Promise<number>((resolve) => parent.once('message', (message) => resolve(Number(message))));
  expect(isAlive(pid)).toBe(true);
  parent.kill('SIGKILL');
  for (let n = 0; n < 100 && isAlive(pid); n++) await new Promise((resolve) => setTimeout(resolve, 50));
  expect(isAlive(pid)).toBe(false);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('closing while the process is being replaced leaves no process behind', async () => {
  const encoder = await openPack(path.join(PACKS, 'tiny-clip'), { sleep: () => Promise.resolve() });
  process.kill(encoder.pid!, 'SIGKILL');
  await new Promise((resolve) => setTimeout(resolve, 50));
  await encoder.close();
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(isAlive(encoder.pid!)).toBe(false);
  await expect(encoder.encodeTexts(['a'], { space: 'image', purpose: 'query', lane: 'interactive' }).catch(codeOf)).resolves.toBe(
    'encoder_unavailable',
  );
});
