import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { HfTokenizer } from './hf-tokenizer.ts';
import { findPack } from '@sightline/shared/adapters/find-pack';
import { readEncoderPack, readTextPack } from './pack-reader.ts';

const PACKS = path.resolve(import.meta.dirname, '../../../../test/fixtures/packs');
const folders: string[] = [];

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function copyOf(name: string, as = name): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'sightline-pack-'));
  folders.push(folder);
  cpSync(path.join(PACKS, name), path.join(folder, as), { recursive: true });
  return path.join(folder, as);
}

const edit = (packDir: string, name: string, change: (value: Record<string, unknown>) => object) =>
  writeFileSync(path.join(packDir, name), JSON.stringify(change(JSON.parse(readFileSync(path.join(packDir, name), 'utf8')))));
const codeOf = (error: unknown) => (error instanceof SightlineError ? error.code : error);

test('a pack is found by path, by name and by its name on the hub', async () => {
  const packDir = copyOf('tiny-clip', 'Xenova--tiny');
  const places = ['/nowhere', path.dirname(packDir)];
  expect(await findPack(packDir, [])).toBe(packDir);
  expect(await findPack('Xenova/tiny', places)).toBe(packDir);
  expect(await findPack('Xenova--tiny', places)).toBe(packDir);
  await expect(findPack('Xenova/other', places).catch(codeOf)).resolves.toBe('pack_not_found');
});

test('the fingerprint follows weights, preprocessing, tokenizer and scales, and nothing else', async () => {
  const original = (await readEncoderPack(path.join(PACKS, 'tiny-clip'))).fingerprints;
  const changed = async (change: (packDir: string) => void) => {
    const packDir = copyOf('tiny-clip');
    change(packDir);
    const { image, text } = (await readEncoderPack(packDir)).fingerprints;
    return [image !== original.image, text !== original.text];
  };
  expect(await changed(() => undefined)).toEqual([false, false]);
  expect(await changed((packDir) => writeFileSync(path.join(packDir, 'README.md'), 'x'))).toEqual([false, false]);
  expect(await changed((packDir) => writeFileSync(path.join(packDir, 'sightline.json'), '{"languages":["en"]}'))).toEqual([
    false,
    false,
  ]);
  expect(await changed((packDir) => appendFileSync(path.join(packDir, 'onnx/vision_model.onnx'), '\0'))).toEqual([true, false]);
  expect(await changed((packDir) => appendFileSync(path.join(packDir, 'onnx/vision_model_fp16.onnx'), '\0'))).toEqual([
    false,
    false,
  ]);
  expect(await changed((packDir) => edit(packDir, 'preprocessor_config.json', (c) => ({ ...c, resample: 2 })))).toEqual([
    true,
    false,
  ]);
  expect(await changed((packDir) => edit(packDir, 'tokenizer.json', (c) => ({ ...c, normalizer: null })))).toEqual([true, true]);
  expect(
    await changed((packDir) =>
      writeFileSync(path.join(packDir, 'sightline.json'), '{"multi_scale":{"scales":[32,48],"fuse":"mean"}}'),
    ),
  ).toEqual([true, false]);
});

test('without a wish the first variant there is, with one exactly that or an error that lists them', async () => {
  const packDir = copyOf('tiny-clip');
  expect((await readEncoderPack(packDir)).variant).toBe('fp32');
  expect((await readEncoderPack(packDir, { variant: 'quantized' })).variant).toBe('quantized');
  await expect(readEncoderPack(packDir, { variant: 'q4' })).rejects.toThrow(/fp32, fp16, quantized/);
  for (const graph of ['text_model', 'model']) rmSync(path.join(packDir, `onnx/${graph}.onnx`));
  expect((await readEncoderPack(packDir)).variant).toBe('fp16');
});

test.each([
  ['a missing file', (packDir: string) => rmSync(path.join(packDir, 'tokenizer.json'))],
  ['a file that is not JSON', (packDir: string) => writeFileSync(path.join(packDir, 'config.json'), '{')],
  [
    'a link out of the pack',
    (packDir: string) => {
      rmSync(path.join(packDir, 'tokenizer.json'));
      symlinkSync('/etc/hostname', path.join(packDir, 'tokenizer.json'));
    },
  ],
  [
    'external data outside the pack',
    (packDir: string) =>
      appendFileSync(path.join(packDir, 'onnx/vision_model.onnx'), '\x0a\x08location\x12\x0b../../secret', 'latin1'),
  ],
  [
    'external data that is missing',
    (packDir: string) =>
      appendFileSync(path.join(packDir, 'onnx/vision_model.onnx'), '\x0a\x08location\x12\x09data.file', 'latin1'),
  ],
  [
    'a settings file of absurd size',
    (packDir: string) => writeFileSync(path.join(packDir, 'config.json'), ' '.repeat(2_000_000)),
  ],
  [
    'an unknown setting in sightline.json',
    (packDir: string) => writeFileSync(path.join(packDir, 'sightline.json'), '{"promt_templates":["{}"]}'),
  ],
  [
    'a text encoder by a path',
    (packDir: string) => writeFileSync(path.join(packDir, 'sightline.json'), '{"text_encoder":"../../etc"}'),
  ],
])('%s makes the pack invalid', async (_, spoil) => {
  const packDir = copyOf('tiny-clip');
  spoil(packDir);
  await expect(readEncoderPack(packDir).catch(codeOf)).resolves.toBe('pack_invalid');
});

test('external data counts into the fingerprint', async () => {
  const packDir = copyOf('tiny-clip');
  appendFileSync(path.join(packDir, 'onnx/vision_model.onnx'), '\x0a\x08location\x12\x09data.file', 'latin1');
  const of = async (content: string) => {
    writeFileSync(path.join(packDir, 'onnx/data.file'), content);
    return (await readEncoderPack(packDir)).fingerprints.image;
  };
  expect(await of('a')).not.toBe(await of('b'));
});

test('a text encoder says its pooling, prefixes and length in sentence-transformers files', async () => {
  expect(await readTextPack(path.join(PACKS, 'tiny-bert'), undefined)).toMatchObject({
    pooling: 'mean',
    queryPrefix: 'query: ',
    passagePrefix: 'passage: ',
    maxTokens: 96,
  });
  expect(await readTextPack(path.join(PACKS, 'tiny-roberta'), undefined)).toMatchObject({
    pooling: 'cls',
    queryPrefix: '',
    maxTokens: 96,
  });
});

test('published names stand in for files that conversions leave out', async () => {
  const packDir = copyOf('tiny-bert', 'Xenova--multilingual-e5-small');
  rmSync(path.join(packDir, '1_Pooling'), { recursive: true });
  rmSync(path.join(packDir, 'config_sentence_transformers.json'));
  expect(await readTextPack(packDir, undefined)).toMatchObject({
    pooling: 'mean',
    queryPrefix: 'query: ',
    passagePrefix: 'passage: ',
  });
});

test('a step after pooling that the graph does not have is refused', async () => {
  const packDir = copyOf('tiny-bert');
  writeFileSync(
    path.join(packDir, 'modules.json'),
    JSON.stringify([{ type: 'sentence_transformers.models.Transformer' }, { type: 'sentence_transformers.models.Dense' }]),
  );
  await expect(readTextPack(packDir, undefined).catch(codeOf)).resolves.toBe('pack_invalid');
});

test.each(['tiny-bert', 'tiny-roberta'])('%s is cut on the right and keeps its special tokens', async (name) => {
  const tower = await readTextPack(path.join(PACKS, name), undefined);
  const tokenizer = new HfTokenizer(tower);
  const { ids: short } = tokenizer.encode('a red shoe');
  const { ids: long, truncated } = tokenizer.encode('a red shoe '.repeat(200));
  expect(truncated).toBe(true);
  expect(long.length).toBe(tower.maxTokens);
  expect([long[0], long.at(-1)]).toEqual([short[0], short.at(-1)]);
});
