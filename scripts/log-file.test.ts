import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { openLogFile } from './log-file.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-log-'));
});
afterEach(() => rm(folder, { recursive: true }));

// The device that is always full is Linux's.
(process.platform === 'linux' ? test : test.skip)('logging to a full disk throws into nothing', async () => {
  await symlink('/dev/full', join(folder, 'sightline.log'));
  const logger = pino(openLogFile(folder));
  for (let line = 0; line < 100; line++) logger.warn('x'.repeat(50_000));
});

test('a DATA_DIR that cannot be written is said to be one', async () => {
  await writeFile(join(folder, 'file'), '');
  expect(() => openLogFile(join(folder, 'file'))).toThrow(expect.objectContaining({ code: 'config_invalid' }));
});
