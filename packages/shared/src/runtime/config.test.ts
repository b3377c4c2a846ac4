import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { EGRESS_SETTINGS, SHARED_SETTINGS, readConfig, setting, urlOf, wholeNumber } from './config.ts';

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

test('where requests may go is closed by default, and what is opened has to be a place', () => {
  expect(readConfig(EGRESS_SETTINGS, {})).toEqual({ egressAllowHttp: false, egressAllow: [] });
  const env = { EGRESS_ALLOW_HTTP: 'true', EGRESS_ALLOW: '10.1.0.0/16, [fd00::1]:8443,hooks.corp.internal:443,' };
  const egressAllow = ['10.1.0.0/16', '[fd00::1]:8443', 'hooks.corp.internal:443'];
  expect(readConfig(EGRESS_SETTINGS, env)).toEqual({ egressAllowHttp: true, egressAllow });
  expect(() => readConfig(EGRESS_SETTINGS, { EGRESS_ALLOW_HTTP: 'yes' })).toThrow('EGRESS_ALLOW_HTTP: expected true or false');
  expect(() => readConfig(EGRESS_SETTINGS, { EGRESS_ALLOW: 'hooks.corp.internal' })).toThrow('EGRESS_ALLOW: expected addresses');
});
