import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { setTimeout as sleepFor } from 'node:timers/promises';
import { DEFAULT_TENANT, passageAssetId, pictureAssetId } from '@sightline/shared/contracts/ids';
import { isClean } from './core/audit.ts';
import type { Finding } from './core/compare-point.ts';
import { Repair } from './core/repair.ts';
import { FlowRig } from './testing/flow-rig.ts';

let rig: FlowRig;

beforeEach(async () => {
  rig = await FlowRig.open();
  await rig.write('a.png', 'one');
  await rig.write('b.png', 'two');
  await rig.write('bad.png', 'BAD');
  const lines = [
    { item_id: 'A', title: 'A', text: 'One. Two.', images: ['a.png'] },
    { item_id: 'B', title: 'B', text: 'Words.' },
    { item_id: 'C', title: 'C', images: ['bad.png'] },
  ];
  await rig.write('m.jsonl', lines.map((line) => JSON.stringify(line)).join('\n'));
  await rig.run();
  await rig.run({ type: 'manifest', uri: `${rig.source}/m.jsonl` });
  expect(isClean((await rig.audit()).report)).toBe(true);
});

afterEach(async () => {
  await rig.close();
});

async function version(): Promise<number> {
  return (await rig.ledger.leaseKeys([], { ttlMs: 1 })).version;
}

const idOf = (key: string): string => pictureAssetId(DEFAULT_TENANT, rig.source, key);

/** What the audit finds, and that its repair mends it. */
async function expectFound(...expected: [Finding['kind'], key: string][]): Promise<void> {
  const { findings, report } = await rig.audit();
  const named = (pairs: string[][]): string[] => pairs.map((pair) => pair.join(' ')).toSorted();
  expect(named(findings.map(({ kind, key }) => [kind, key]))).toEqual(named(expected));
  expect(isClean(report)).toBe(false);
  // The second look sees what the first saw.
  expect(report.healed).toBe(0);
  const { ledger, index, store } = rig;
  const sleep = (ms: number, signal?: AbortSignal): Promise<void> => sleepFor(Math.min(ms, 5), undefined, { signal });
  const repair = new Repair({ ledger, index, store, now: () => rig.now(), sleep }, DEFAULT_TENANT);
  for (const finding of findings) await repair.take(finding);
  const { ingestions, changes } = await repair.finish();
  expect(ingestions.length + changes).toBeGreaterThan(0);
  await rig.driveChanges();
  await rig.drive();
  expect((await rig.audit()).findings).toEqual([]);
}

test('a point that was lost is missing', async () => {
  await rig.index.delete([
    { assetId: idOf('b.png'), tenant: DEFAULT_TENANT, version: await version(), reason: 'gone', object: null, at: 1 },
  ]);
  await expectFound(['missing', 'b.png']);
});

test('an object that came without an ingestion is missing, one that went is extra, one that changed is stale', async () => {
  await rig.write('c.png', 'three');
  await rig.remove('b.png');
  await rig.write('a.png', 'changed');
  await expectFound(['missing', 'c.png'], ['extra', 'b.png'], ['stale', 'a.png']);
});

test('bytes that failed before and are good now are missing', async () => {
  await rig.write('bad.png', 'good');
  const { findings } = await rig.audit();
  expect(findings.map(({ kind, key }) => [kind, key])).toEqual([['missing', 'bad.png']]);
});

test('a record that is old, on a picture and as a passage, is malformed', async () => {
  const old = { itemId: 'A', title: 'old', text: 'One.', attributes: {}, pictures: [], pushed: false };
  const common = { tenant: DEFAULT_TENANT, keywords: ['old'], recordVersion: await version(), indexedAt: 1 };
  const vector = Float32Array.from({ length: 16 }, () => 0.25);
  await rig.index.writeRecords([
    {
      ...common,
      assetId: idOf('a.png'),
      kind: 'picture',
      object: { bucket: rig.source, key: 'a.png' },
      passageNo: 0,
      records: [old],
      vector,
    },
    {
      ...common,
      assetId: passageAssetId(DEFAULT_TENANT, 'B', 0),
      kind: 'passage',
      object: null,
      passageNo: 0,
      records: [{ itemId: 'B', title: 'B', text: 'Other.', attributes: {}, pictures: [], pushed: false }],
      vector,
    },
  ]);
  await expectFound(['malformed', 'a.png'], ['malformed', 'item:B'], ['malformed', 'item:B']);
});

test('a picture that only a manifest names comes back through it', async () => {
  await rig.put('shop', 'p/x.png', 'x');
  const line = JSON.stringify({ item_id: 'X', title: 'X', text: 'Words.', images: ['x.png'] });
  await rig.put('shop', 'p/m.jsonl', line);
  await rig.run({ type: 'manifest', uri: 's3://shop/p/m.jsonl' });
  await rig.index.delete([
    {
      assetId: pictureAssetId(DEFAULT_TENANT, 'shop', 'p/x.png'),
      tenant: DEFAULT_TENANT,
      version: await version(),
      reason: 'gone',
      object: { bucket: 'shop', key: 'p/x.png', eTag: null },
      at: 1,
    },
  ]);
  await expectFound(['missing', 'p/x.png'], ['missing', 'item:X']);
});

test('passages that nobody wrote are missing, and those of an unknown item are extra', async () => {
  const at = { tenant: DEFAULT_TENANT, version: await version(), reason: 'gone', object: null, at: 1 } as const;
  await rig.index.delete([
    { ...at, assetId: passageAssetId(DEFAULT_TENANT, 'B', 0) },
    { ...at, assetId: passageAssetId(DEFAULT_TENANT, 'A', 1) },
  ]);
  await rig.index.writeRecords([
    {
      assetId: passageAssetId(DEFAULT_TENANT, 'X', 0),
      tenant: DEFAULT_TENANT,
      kind: 'passage',
      object: null,
      passageNo: 0,
      records: [{ itemId: 'X', title: 'X', text: '', attributes: {}, pictures: [], pushed: false }],
      keywords: ['x'],
      vector: Float32Array.from({ length: 16 }, () => 0.25),
      recordVersion: await version(),
      indexedAt: 1,
    },
  ]);
  await expectFound(['missing', 'item:B'], ['malformed', 'item:A'], ['extra', 'item:X']);
});

test('a source that cannot be read is said so, and nothing is called extra on its account', async () => {
  const { rename } = await import('node:fs/promises');
  await rename(rig.source, `${rig.source}-away`);
  const { report, findings } = await rig.audit();
  expect(report.unreadable.map(({ code }) => code)).toEqual(['source_not_found', 'source_not_found']);
  expect(findings.filter(({ bucket }) => bucket !== null)).toEqual([]);
  expect(isClean(report)).toBe(false);
});
