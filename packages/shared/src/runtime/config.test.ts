import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { SHARED_SETTINGS, readConfig, setting, urlOf, wholeNumber } from './config.ts';

const SETTINGS = {
  port: setting('PORT', wholeNumber(0, 65_535).default(8080), 'a port'),
  name: setting('NAME', z.string().min(1), 'a name'),
  redisUrl: SHARED_SETTINGS.optionalRedisUrl,
};

test('an empty variable counts as absent, and the configuration is frozen', () => {
  const config = readConfig(SETTINGS, { PORT: '', NAME: 'x', REDIS_URL: '' });
  expect(config).toEqual({ port: 8080, name: 'x', redisUrl: undefined });
  expect(Object.isFrozen(config)).toBe(true);
});

test('every wrong variable is named with what was expected', () => {
  const read = () => readConfig(SETTINGS, { PORT: '70000' });
  expect(read).toThrow('PORT: expected a whole number from 0 to 65535');
  expect(read).toThrow('NAME: ');
});

test('the value of a secret is never shown', () => {
  expect(() => readConfig(SETTINGS, { NAME: 'x', REDIS_URL: 'http://user:hunter2@host' })).toThrow(
    'REDIS_URL: not of the expected form',
  );
  expect(() => readConfig(SETTINGS, { NAME: 'x', REDIS_URL: 'http://user:hunter2@host' })).not.toThrow('hunter2');
});

test.each(['-1', '1.5', '1e3', ' 1', '0x10', 'NaN', '9999999999999999'])('%j is no whole number', (value) => {
  expect(wholeNumber(0, 100_000).safeParse(value).success).toBe(false);
});

test('a URL has to have one of the named schemes', () => {
  expect(urlOf('redis', 'rediss').safeParse('rediss://host:6379').success).toBe(true);
  expect(urlOf('redis', 'rediss').safeParse('redis:host').success).toBe(false);
  expect(urlOf('redis', 'rediss').safeParse('host:6379').success).toBe(false);
});
