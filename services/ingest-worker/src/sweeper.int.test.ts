import { expect, test } from '@jest/globals';
import { DEFAULT_TENANT, pictureAssetId } from '@sightline/shared/contracts/ids';
import { pino } from 'pino';
import { startSweeper } from './sweeper.ts';
import { FlowRig } from './testing/flow-rig.ts';

const DAY_MS = 24 * 3_600_000;

/** One turn of the sweep, `days` from now. */
async function sweep(rig: FlowRig, days: number): Promise<void> {
  const { index, ledger, store } = rig;
  const pruned = Promise.withResolvers<void>();
  const watched = {
    purge: async (tenant: string, before: number): Promise<number> => {
      const purged = await index.purge(tenant, before);
      pruned.resolve();
      return purged;
    },
  };
  const add = async (): Promise<void> => {};
  const backlog = { mayGoOn: async (): Promise<boolean> => true };
  const deps = {
    ledger,
    store,
    backlog,
    index: watched,
    enqueuePlan: add,
    enqueueChunk: add,
    driveChanges: add,
    enqueueAudit: add,
    now: () => rig.now() + days * DAY_MS,
  };
  const config = {
    everyMs: 1,
    chunksEveryMs: 1,
    chunksOlderThanMs: 0,
    changesEveryMs: 1,
    auditsEveryMs: 1,
    keepIngestionsMs: 90 * DAY_MS,
    keepTombstonesMs: 30 * DAY_MS,
  };
  const sweeper = startSweeper(deps, config, pino({ level: 'silent' }));
  await pruned.promise;
  await sweeper.stop();
}

test('tombstones go after their retention, but for what a user removed: that stays removed', async () => {
  const rig = await FlowRig.open();
  try {
    for (const key of ['stays.png', 'goes.png', 'removed.png']) await rig.write(key, key);
    await rig.run();
    const object = { bucket: rig.source, key: 'removed.png' };
    const assetId = pictureAssetId(DEFAULT_TENANT, object.bucket, object.key);
    const eTag = (await rig.store.head(object))?.eTag ?? null;
    const { version } = await rig.ledger.leaseKeys([], { ttlMs: 1 });
    const tombstone = { assetId, tenant: DEFAULT_TENANT, version, reason: 'removed' as const, at: rig.now() };
    await rig.index.delete([{ ...tombstone, object: { ...object, eTag } }]);
    await rig.remove('goes.png');
    await rig.run();
    expect(await rig.index.count(DEFAULT_TENANT)).toEqual({ live: 1, deleted: 2 });
    await sweep(rig, 29);
    expect(await rig.index.count(DEFAULT_TENANT)).toEqual({ live: 1, deleted: 2 });
    await sweep(rig, 31);
    expect(await rig.index.count(DEFAULT_TENANT)).toEqual({ live: 1, deleted: 1 });
    expect((await rig.run()).counts).toMatchObject({ listed: 2, unchanged: 2 });
    expect(await rig.index.count(DEFAULT_TENANT)).toEqual({ live: 1, deleted: 1 });
    expect((await rig.audit()).findings).toEqual([]);
  } finally {
    await rig.close();
  }
});
