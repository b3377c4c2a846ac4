import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { DEFAULT_TENANT, pictureAssetId } from '@sightline/shared/contracts/ids';
import { isClean } from './core/audit.ts';
import { openSqliteExpectedSet } from './adapters/sqlite-expected-set.ts';
import { FlowRig } from './testing/flow-rig.ts';

const GRACE_MS = 60_000;
let rig: FlowRig;

beforeEach(async () => {
  rig = await FlowRig.open();
});

afterEach(async () => {
  await rig.close();
});

/** An audit during whose graces things happen; answers what it found. */
async function auditWhile(during: (grace: number) => Promise<unknown>) {
  let graces = 0;
  const sleep = async (ms: number): Promise<void> => {
    expect(ms).toBe(GRACE_MS);
    await during(++graces);
  };
  const { report, findings } = await rig.audit({ graceMs: GRACE_MS }, { sleep });
  return { report, graces, found: findings.map(({ kind, key }) => `${kind} ${key}`).toSorted() };
}

test('what was in flight and came true within the grace is not reported, what was lost is', async () => {
  const lines = [
    { item_id: 'A', title: 'A', text: 'One. Two.', images: ['a.png'] },
    { item_id: 'B', title: 'B', text: 'Words.' },
  ];
  for (const key of ['a.png', 'b.png', 'goes.png', 'changes.png', 'lost.png']) await rig.write(key, key);
  await rig.write('m.jsonl', lines.map((line) => JSON.stringify(line)).join('\n'));
  await rig.run();
  await rig.run({ type: 'manifest', uri: `${rig.source}/m.jsonl` });
  const assetId = pictureAssetId(DEFAULT_TENANT, rig.source, 'lost.png');
  // A new picture, one that went, one that changed, one that will fail, and new words: all on their way.
  await rig.write('new.png', 'new');
  await rig.write('bad.png', 'BAD');
  await rig.remove('goes.png');
  await rig.write('changes.png', 'changed');
  await rig.write(
    'm.jsonl',
    lines.map((line) => JSON.stringify({ ...line, title: 'New', text: `${line.text} New.` })).join('\n'),
  );
  const { report, graces, found } = await auditWhile(async () => {
    await rig.run();
    await rig.run({ type: 'manifest', uri: `${rig.source}/m.jsonl` });
    const { version } = await rig.ledger.leaseKeys([], { ttlMs: 1 });
    await rig.index.delete([{ assetId, tenant: DEFAULT_TENANT, version, reason: 'gone', object: null, at: 1 }]);
  });
  expect({ graces, found }).toEqual({ graces: 1, found: [] });
  expect(isClean(report)).toBe(true);
  // new, bad, goes, changes, A on its picture and its passage, B's passage, both as items.
  expect(report.healed).toBe(9);
  expect(report.agreed).toMatchObject({ indexed: 5, failed: 1 });

  // Lost while it was not doubted: the next audit's to find.
  expect((await auditWhile(async () => {})).found).toEqual(['missing lost.png']);
});

test('an object that changes from look to look is in flight; one that stands still and differs is not', async () => {
  await rig.write('hot.png', 'v0');
  await rig.write('cold.png', 'v0');
  await rig.run();
  await rig.write('hot.png', 'v1');
  await rig.write('cold.png', 'v1');
  const settles = await auditWhile(async (grace) => {
    if (grace < 3) await rig.write('hot.png', `changed for the ${grace}th time`);
    else await rig.run();
  });
  expect(settles).toMatchObject({ graces: 3, found: ['stale cold.png'], report: { healed: 1 } });
  await rig.write('hot.png', 'again');
  const never = await auditWhile((grace) => rig.write('hot.png', 'x'.repeat(grace)));
  expect(never).toMatchObject({ graces: 4, found: ['stale hot.png'] });
});

test('a failed change accounts for an absence, as a failed object of an ingestion does', async () => {
  await rig.write('a.png', 'one');
  await rig.run();
  await rig.write('b.png', 'two');
  expect((await rig.audit()).findings).toMatchObject([{ kind: 'missing', key: 'b.png' }]);
  const change = { kind: 'object', bucket: rig.source, key: 'b.png' } as const;
  await rig.ledger.noteChanges(DEFAULT_TENANT, [{ change, changedAt: null }], 1);
  const [owed] = await rig.ledger.takeChanges(DEFAULT_TENANT, { limit: 1, claimMs: 1, soloAfter: 3, at: 2 });
  const eTag = (await rig.store.head(change))?.eTag ?? null;
  const failure = { code: 'picture_corrupt', reason: 'r', eTag } as const;
  await rig.ledger.settleChanges(DEFAULT_TENANT, [{ place: owed?.place ?? '', generation: owed?.generation ?? 0, failure }], 3);
  const { report, findings } = await rig.audit();
  expect({ findings, agreed: report.agreed }).toEqual({ findings: [], agreed: { indexed: 1, failed: 1, removed: 0 } });
  // Of other bytes it is no failure.
  await rig.write('b.png', 'three');
  expect((await rig.audit()).findings).toMatchObject([{ kind: 'missing', key: 'b.png' }]);
});

test('a picture that only a manifest names is looked at again by what the manifest says', async () => {
  for (const key of ['a.png', 'b.png', 'c.png']) await rig.write(key, key);
  // Its words stand on the other picture: of the item itself nothing is in doubt.
  await rig.write('m.jsonl', JSON.stringify({ item_id: 'A', title: 'A', images: ['a.png', 'b.png'] }));
  await rig.run({ type: 'manifest', uri: `${rig.source}/m.jsonl` });
  const { version } = await rig.ledger.leaseKeys([], { ttlMs: 1 });
  const assetId = pictureAssetId(DEFAULT_TENANT, rig.source, 'a.png');
  const object = { bucket: rig.source, key: 'a.png', eTag: null };
  await rig.index.delete([{ assetId, tenant: DEFAULT_TENANT, version, reason: 'gone', object, at: 1 }]);
  expect(await rig.audit()).toMatchObject({ findings: [{ kind: 'missing', key: 'a.png' }], report: { healed: 0 } });
  // Named by another item as well, which no point bears yet.
  const lines = [
    { item_id: 'A', title: 'A', images: ['a.png', 'b.png'] },
    { item_id: 'C', title: '', images: ['b.png', 'c.png'] },
  ];
  await rig.write('m.jsonl', lines.map((line) => JSON.stringify(line)).join('\n'));
  const { report, findings } = await rig.audit();
  expect(report.healed).toBe(0);
  expect(findings.map(({ kind, key }) => `${kind} ${key}`)).toEqual(
    expect.arrayContaining(['missing a.png', 'malformed b.png', 'missing c.png']),
  );
});

test('of a place only its pictures are compared, with the records on them', async () => {
  for (const key of ['in/a.png', 'in/b.png', 'out/c.png']) await rig.write(key, key);
  await rig.write('m.jsonl', JSON.stringify({ item_id: 'A', title: 'A', text: 'Words.', images: ['in/a.png'] }));
  await rig.run();
  await rig.run({ type: 'manifest', uri: `${rig.source}/m.jsonl` });
  const place = { bucket: rig.source, prefix: 'in/' };
  expect(await rig.audit({ place })).toMatchObject({ findings: [], report: { points: 2, agreed: { indexed: 2 } } });
  await rig.remove('in/b.png');
  await rig.write('in/new.png', 'new');
  await rig.remove('out/c.png');
  await rig.write('m.jsonl', JSON.stringify({ item_id: 'A', title: 'A', text: 'Other.', images: ['in/a.png'] }));
  const { findings } = await rig.audit({ place });
  expect(findings.map(({ kind, key }) => `${kind} ${key}`).toSorted()).toEqual([
    'extra in/b.png',
    'malformed in/a.png',
    'missing in/new.png',
  ]);
});

test('the second look asks for what is doubted alone', async () => {
  for (let i = 0; i < 40; i++) await rig.write(`${i}.png`, `picture ${i}`);
  await rig.run();
  await rig.write('new.png', 'new');
  let listed = 0;
  let looks = 0;
  const openExpectedSet = () => {
    const set = openSqliteExpectedSet();
    looks += 1;
    return {
      ...set,
      addPicture: (picture: Parameters<typeof set.addPicture>[0]) => {
        if (looks === 2) listed += 1;
        set.addPicture(picture);
      },
    };
  };
  expect((await rig.audit({}, { openExpectedSet })).findings).toHaveLength(1);
  // As doubted, and as found there.
  expect({ looks, listed }).toEqual({ looks: 2, listed: 2 });
});
