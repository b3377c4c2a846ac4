import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { TINY_PACK } from '../testing/tiny-pack.ts';
import { chatRequest, splitPictures } from './chat-request.ts';
import { Llava, type SaidToken } from './llava.ts';
import { readModelPack } from './model-pack.ts';
import { PictureInput } from './picture-input.ts';

/** What the exporter wrote down of transformers' own answers. */
const golden = z.object({
  cases: z
    .array(
      z.object({
        name: z.string(),
        messages: chatRequest.shape.messages,
        prompt_ids: z.array(z.int()),
        token_ids: z.array(z.int()),
        logprobs: z.array(z.number()),
        text: z.string(),
      }),
    )
    .min(1),
});
const goldenIn = (folder: string) => golden.parse(JSON.parse(readFileSync(join(folder, 'golden.json'), 'utf8')));

const STARTER = fileURLToPath(new URL('../../../../models/starter-vlm', import.meta.url));
const PACKS = [TINY_PACK, STARTER].filter((directory) => existsSync(directory));

test.each(PACKS)('%s says what transformers says, token by token, and so do its adapters', async (directory) => {
  const pack = await readModelPack(directory);
  const llava = await Llava.open(pack, 1);
  const input = new PictureInput(pack);
  const adapters = existsSync(join(directory, 'adapters')) ? readdirSync(join(directory, 'adapters')) : [];
  const sets = [
    { model: pack.name, folder: directory },
    ...adapters.map((name) => ({ model: name, folder: join(directory, 'adapters', name) })),
  ];
  for (const { model, folder } of sets) {
    for (const one of goldenIn(folder).cases) {
      const { messages, urls } = splitPictures(one);
      const pictures = await input.read(urls);
      const asked = { model, messages, pictures, maxTokens: one.token_ids.length, stop: [], topLogprobs: 0 };
      expect({ case: one.name, ids: llava.promptIds(asked) }).toEqual({ case: one.name, ids: one.prompt_ids });
      const said: SaidToken[] = [];
      const ended = await llava.answer(
        { ...asked, sampling: { temperature: 0, topP: 1, seed: 0 } },
        { isCancelled: () => false, onToken: (token) => said.push(token) },
      );
      expect({ case: one.name, ids: said.map(({ id }) => id) }).toEqual({ case: one.name, ids: one.token_ids });
      expect(said.map(({ text }) => text).join('') + ended.text).toBe(one.text);
      for (const [n, { chances }] of said.entries()) expect(chances?.own.logprob).toBeCloseTo(one.logprobs[n] ?? Number.NaN, 3);
    }
  }
});
