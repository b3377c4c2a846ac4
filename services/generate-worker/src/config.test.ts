import { expect, test } from '@jest/globals';
import { readConfig } from '@sightline/shared/runtime/config';
import { GENERATOR_SETTINGS, SERVER_PROFILE, SETTINGS, generateConfigOf } from './config.ts';

test('the defaults are those that LLaVA-OneVision was made for', () => {
  expect(readConfig(GENERATOR_SETTINGS, {})).toMatchObject({
    vlmTemperature: 0.3,
    vlmTopP: 0.85,
    vlmMaxTokens: 512,
    vlmStop: ['<|im_end|>'],
  });
  expect(SERVER_PROFILE).toMatchObject({ maxImages: 4, imageSidePx: 384, boxFrame: 'thousand', contextTokens: 8_192 });
});

test('stop texts are a list, and none is none', () => {
  expect(readConfig(GENERATOR_SETTINGS, { VLM_STOP: '</s>,###' }).vlmStop).toEqual(['</s>', '###']);
  expect(readConfig(GENERATOR_SETTINGS, { VLM_STOP: 'none' }).vlmStop).toEqual([]);
});

test('what is out of its bounds is named, a key never', () => {
  const read = () =>
    readConfig(SETTINGS, {
      REDIS_URL: 'redis://localhost',
      VLM_TEMPERATURE: '2.1',
      VLM_TOP_P: '0',
      VLM_BOX_FRAME: 'pixels',
      VLM_TIMEOUT: '3 minutes',
      VLM_STOP: 'a,b,c,d,e',
    });
  for (const variable of ['VLM_TEMPERATURE', 'VLM_TOP_P', 'VLM_BOX_FRAME', 'VLM_TIMEOUT', 'VLM_STOP'])
    expect(read).toThrow(`${variable}: expected`);
});

test('a server that answers one after the other is given few questions at once', () => {
  const concurrencyWith = (env: Record<string, string>) =>
    generateConfigOf(readConfig(SETTINGS, { REDIS_URL: 'redis://localhost', ...env })).concurrency;
  expect(concurrencyWith({})).toBe(3);
  expect(concurrencyWith({ VLM_BASE_URL: 'http://localhost/v1' })).toBe(40);
  expect(concurrencyWith({ VLM_IN_FLIGHT: '4' })).toBe(5);
});
