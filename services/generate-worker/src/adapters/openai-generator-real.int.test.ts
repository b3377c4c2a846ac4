import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import sharp from 'sharp';
import { pino } from 'pino';
import type { PromptPart } from '../core/generator.ts';
import { closeRigs, openRig, QUESTION, until, type GeneratorRig } from '../testing/generator-rig.ts';
import { TINY_PACK } from '../testing/tiny-pack.ts';
import { ModelServerChild } from './model-server-child.ts';

/** Any other server, such as vLLM; else the worker's own with a pack of random weights, which is as real. */
const namedUrl = process.env['VLM_TEST_BASE_URL'];
const model = process.env['VLM_TEST_MODEL'] ?? null;

/** A model may say anything: what is looked at is the protocol, on a server that is nobody's fake. */
describe(`a real model server (${namedUrl ?? 'the own one'})`, () => {
  let rig: GeneratorRig;
  let own: ModelServerChild | null = null;
  beforeAll(async () => {
    const profile = {
      model,
      maxImages: 2,
      imageSidePx: 384,
      boxFrame: 'thousand',
      contextTokens: 2_048,
      tokensPerImage: 729,
    } as const;
    if (!namedUrl) own = await ModelServerChild.open({ packDirectory: TINY_PACK, logger: pino({ level: 'silent' }) });
    const { baseUrl, apiKey } = own?.place ?? { baseUrl: namedUrl ?? '', apiKey: undefined };
    rig = openRig(baseUrl, { profile, apiKey });
  });
  afterAll(() => own?.close());
  afterAll(closeRigs);

  const short = { temperature: 0, maxTokens: 24, stop: [] };

  test('is ready, and lists what it serves', async () => {
    await rig.generator.ready();
    await expect(rig.ask({ adapter: 'no-such-adapter' }).answer).rejects.toMatchObject({ code: 'generator_refused' });
  });

  test('streams in pieces, counts its tokens, and says why it ended', async () => {
    const { answer, pieces } = rig.ask({ sampling: short });
    const { text, usage, finishReason } = await answer;
    expect(pieces.length).toBeGreaterThan(1);
    expect(pieces.join('')).toBe(text);
    expect(usage.promptTokens).toBeGreaterThan(5);
    expect(usage.completionTokens).toBeGreaterThan(0);
    expect(usage.completionTokens).toBeLessThanOrEqual(24);
    if (finishReason === 'length') expect(usage.completionTokens).toBe(24);
  });

  test('sees pictures that are sent as data URLs, each of them', async () => {
    const picture = async (background: string): Promise<PromptPart> => ({
      type: 'image',
      bytes: await sharp({ create: { width: 384, height: 384, channels: 3, background } })
        .png()
        .toBuffer(),
      mediaType: 'image/png',
    });
    const [text] = QUESTION.content;
    const tokens = async (content: PromptPart[]) => (await rig.ask({ content, sampling: short }).answer).usage.promptTokens;
    const none = await tokens([text!]);
    const one = await tokens([await picture('red'), text!]);
    const two = await tokens([await picture('red'), text!, await picture('blue')]);
    expect(one).toBeGreaterThan(none + 3);
    expect(two - one).toBeGreaterThanOrEqual(one - none - 3);
  });

  test('an answer ends before a stop string', async () => {
    const { text } = await rig.ask({ sampling: short }).answer;
    const stop = [...text].slice(4, 8).join('');
    const stopped = await rig.ask({ sampling: { ...short, stop: [stop] } }).answer;
    expect(stopped.finishReason).toBe('stop');
    expect(stopped.text).toBe(text.slice(0, text.indexOf(stop)));
  });

  test('who asked may go: its reason is thrown, and the server answers the next', async () => {
    const { answer, pieces, abort } = rig.ask({ sampling: { temperature: 1, maxTokens: 1_500, stop: [] } });
    await until(() => pieces.length > 0);
    const reason = new Error('cancelled by its asker');
    abort(reason);
    await expect(answer).rejects.toBe(reason);
    await rig.ask({ sampling: short }).answer;
  });

  test('a schema is kept to, or the profile says that the server cannot', async () => {
    const schema = { type: 'object', properties: { fits: { type: 'boolean' } }, required: ['fits'], additionalProperties: false };
    const { text, finishReason } = await rig.ask({ schema: { name: 'fit', schema }, sampling: short }).answer;
    const { structured } = rig.generator.profile;
    if (structured && finishReason === 'stop') expect(JSON.parse(text)).toMatchObject({ fits: expect.any(Boolean) });
    expect(typeof structured).toBe('boolean');
  });

  test('yes or no is a probability, or the profile says that the server gives none', async () => {
    const chance = await rig.generator.yesNo(QUESTION, { signal: new AbortController().signal });
    if (!rig.generator.profile.logprobs) expect(chance).toBe(null);
    else if (chance !== null) {
      expect(chance).toBeGreaterThanOrEqual(0);
      expect(chance).toBeLessThanOrEqual(1);
    }
  });
});
