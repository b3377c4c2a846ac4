import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from '@jest/globals';
import { SqliteLedger } from '../adapters/sqlite-ledger.ts';
import { calibrationSetting, packCalibrationSetting, UNCALIBRATED, type Calibration } from '../retrieval/relevance.ts';
import type { IndexSpec } from '../ports/vector-index.ts';
import { Calibrations } from './calibrations.ts';

const spec: IndexSpec = { image: { fingerprint: 'an-image', dimensions: 4 }, text: { fingerprint: 'a-text', dimensions: 4 } };
const folders: string[] = [];
let ledger: SqliteLedger;
const ledgers: SqliteLedger[] = [];
const fingerprints = { image: spec.image.fingerprint, text: spec.text.fingerprint };

beforeEach(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-calibrations-'));
  folders.push(folder);
  ledger = await SqliteLedger.open({ file: join(folder, 'ledger.db') });
  ledgers.push(ledger);
});
afterAll(async () => {
  await Promise.all(ledgers.map((one) => one.close()));
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

function withThreshold(threshold: number, more: Partial<Calibration> = {}): Calibration {
  const kinds = { ...UNCALIBRATED, words: { ...UNCALIBRATED.words, threshold } };
  return {
    version: 1,
    fingerprints,
    assets: 1,
    fitted_at: '2026-11-23T00:00:00.000Z',
    labels: 'test',
    kinds,
    held_out: {},
    ...more,
  };
}

function open(fromPack: Calibration | null, warnings: string[] = []) {
  let now = 0;
  const calibrations = new Calibrations({
    ledger,
    spec,
    fromPack,
    now: () => now,
    warn: (message) => warnings.push(message),
  });
  return {
    words: async () => (await calibrations.current('default')).kinds.words.threshold,
    fitted: async () => (await calibrations.current('default')).fitted,
    wait: (ms: number) => (now += ms),
  };
}

test("the collection's own calibration goes before the pack's, and that before the built-in guess", async () => {
  const bare = open(null);
  expect(await bare.fitted()).toBe(false);
  const packed = open(withThreshold(0.2));
  expect([await packed.words(), await packed.fitted()]).toEqual([0.2, true]);
  await ledger.putSetting(packCalibrationSetting(fingerprints), JSON.stringify(withThreshold(0.3)));
  expect(await open(null).words()).toBe(0.3);
  await ledger.putSetting(calibrationSetting(fingerprints, 'default'), JSON.stringify(withThreshold(0.4)));
  // A running stack looks again after a while.
  expect(await packed.words()).toBe(0.2);
  packed.wait(10_001);
  expect(await packed.words()).toBe(0.4);
});

test('a calibration of another encoder, or one that cannot be read, is not used', async () => {
  expect(await open(withThreshold(0.2, { fingerprints: { image: 'other', text: 'other' } })).fitted()).toBe(false);
  await ledger.putSetting(calibrationSetting(fingerprints, 'default'), '{"version":2}');
  const warnings: string[] = [];
  expect(await open(withThreshold(0.2), warnings).words()).toBe(0.2);
  expect(warnings).toHaveLength(1);
});
