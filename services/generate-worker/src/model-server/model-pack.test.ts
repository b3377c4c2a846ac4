import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { TINY_ADAPTER, TINY_PACK } from '../testing/tiny-pack.ts';
import type { ChatPart } from './chat-request.ts';
import { Llava } from './llava.ts';
import { readModelPack } from './model-pack.ts';

/** Of the pack's `<image>`. */
const IMAGE_ID = 4;
const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function copyOfTiny(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sightline-model-pack-'));
  folders.push(folder);
  cpSync(TINY_PACK, folder, { recursive: true });
  return folder;
}

function changed(file: string, change: (json: Record<string, unknown>) => object): void {
  writeFileSync(file, JSON.stringify(change(JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>)));
}

const opened = async (folder: string): Promise<Llava> => Llava.open(await readModelPack(folder), 1);
const failure = (folder: string): Promise<string> =>
  opened(folder).then(
    () => 'it opens',
    (error: unknown) => (error instanceof SightlineError ? `${error.code}: ${error.detail}` : String(error)),
  );

test('what sightline.json does not say is taken from the other files', async () => {
  const folder = copyOfTiny();
  rmSync(join(folder, 'sightline.json'));
  expect(await readModelPack(folder)).toMatchObject({
    boxFrame: 'thousand',
    maxImages: 4,
    contextTokens: 8_192,
    tokensPerImage: null,
    answersYesNo: true,
    plan: { input: { widthPx: 32, heightPx: 32 } },
    adapters: [{ name: TINY_ADAPTER }],
  });
  expect((await opened(folder)).tokensPerImage).toBe(16);
});

test('the template may lie in a file of its own, and may take a message as one text', async () => {
  const folder = copyOfTiny();
  changed(join(folder, 'tokenizer_config.json'), (json) => ({ ...json, chat_template: null }));
  expect(await failure(folder)).toContain('no chat template');
  writeFileSync(
    join(folder, 'chat_template.jinja'),
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}\n{% endfor %}assistant:",
  );
  expect(imagesIn(await opened(folder), [{ type: 'image' }, { type: 'text', text: 'a' }])).toBe(16);
});

test('a template that knows parts alone is given texts in parts too', async () => {
  const folder = copyOfTiny();
  const chat_template = `{% for m in messages %}{% for p in m['content'] | selectattr('type', 'equalto', 'image') %}<image>{% endfor %}{% for p in m['content'] | selectattr('type', 'equalto', 'text') %}{{ p['text'] }}{% endfor %}{% endfor %}`;
  changed(join(folder, 'tokenizer_config.json'), (json) => ({ ...json, chat_template }));
  const llava = await opened(folder);
  expect(imagesIn(llava, [{ type: 'image' }, { type: 'text', text: 'a' }])).toBe(16);
  const length = (content: string) =>
    llava.promptIds({ messages: [{ role: 'user', content }], pictures: [], maxTokens: 1 }).length;
  expect(length('7777')).toBe(length('77') + 2);
});

function imagesIn(llava: Llava, content: ChatPart[]): number {
  const pictures = [new Uint8Array(32 * 32 * 3)];
  return llava.promptIds({ messages: [{ role: 'user', content }], pictures, maxTokens: 1 }).filter((id) => id === IMAGE_ID)
    .length;
}

test.each([
  ['no directory', (folder: string) => rmSync(folder, { recursive: true }), /^pack_not_found/],
  ['no tokenizer', (folder: string) => rmSync(join(folder, 'tokenizer.json')), /^pack_invalid: .*tokenizer.json is missing/],
  [
    'a tokenizer that is none',
    (folder: string) => writeFileSync(join(folder, 'tokenizer.json'), '{}'),
    /^pack_invalid: tokenizer.json/,
  ],
  [
    'no decoder',
    (folder: string) => rmSync(join(folder, 'onnx/decoder_model_merged.onnx')),
    /^pack_invalid: .*decoder_model_merged.onnx is missing/,
  ],
  [
    'a decoder that was cut',
    (folder: string) => truncateSync(join(folder, 'onnx/decoder_model_merged.onnx'), 100_000),
    /^pack_invalid: decoder_model_merged/,
  ],
  [
    'another graph in the place of the decoder',
    (folder: string) => cpSync(join(folder, 'onnx/vision_encoder.onnx'), join(folder, 'onnx/decoder_model_merged.onnx')),
    /^pack_invalid: decoder_model_merged.onnx: it takes pixel_values/,
  ],
  [
    'another square than the graph has',
    (folder: string) => {
      rmSync(join(folder, 'sightline.json'));
      changed(join(folder, 'preprocessor_config.json'), (json) => ({ ...json, size: 64, crop_size: 64 }));
    },
    /^pack_invalid: Its graphs do not work together/,
  ],
  [
    'a wrong count of tokens',
    (folder: string) => changed(join(folder, 'sightline.json'), (json) => ({ ...json, tokens_per_image: 17 })),
    /^pack_invalid: .*16 tokens, sightline.json says 17/,
  ],
  [
    'a field that is not known',
    (folder: string) => changed(join(folder, 'sightline.json'), (json) => ({ ...json, box_frames: 'unit' })),
    /^pack_invalid: .*sightline.json/,
  ],
  [
    'a template that shows no picture',
    (folder: string) =>
      changed(join(folder, 'tokenizer_config.json'), (json) => ({
        ...json,
        chat_template: "{{ messages[0]['content'][1]['text'] }}",
      })),
    /^pack_invalid: the chat template/,
  ],
  [
    'a token of a picture that is cut into pieces',
    (folder: string) =>
      changed(join(folder, 'tokenizer.json'), (json) => ({
        ...json,
        added_tokens: (json['added_tokens'] as { content: string }[]).filter(({ content }) => content !== '<image>'),
      })),
    /^pack_invalid: tokenizer.json does not keep <image>/,
  ],
  [
    'an adapter that leads out of the pack',
    (folder: string) => {
      rmSync(join(folder, 'adapters/tuned/onnx/decoder_model_merged.onnx'));
      symlinkSync(
        join(TINY_PACK, 'onnx/decoder_model_merged.onnx'),
        join(folder, 'adapters/tuned/onnx/decoder_model_merged.onnx'),
      );
    },
    /^pack_invalid: .*leads out of the pack/,
  ],
])('%s is told when the pack is opened', async (_, spoil, expected) => {
  const folder = copyOfTiny();
  spoil(folder);
  expect(await failure(folder)).toMatch(expected);
});
