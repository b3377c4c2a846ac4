import { assetLockKey, itemLockKey, passageAssetId, SYSTEM_BUCKET, thumbnailPrefix } from '@sightline/shared/contracts/ids';
import type { Removal } from '@sightline/shared/contracts/http';
import type { PointRecord } from '@sightline/shared/contracts/records';
import { embeddedText, pointKeywords } from '@sightline/shared/ingestion/point-text';
import { eventOfPoint } from '@sightline/shared/ingestion/asset-events';
import { recordDigest } from '@sightline/shared/ingestion/record-removal';
import type { EventLog } from '@sightline/shared/ports/event-log';
import type { KeyLease, Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { AssetPoint, VectorIndex } from '@sightline/shared/ports/vector-index';
import { SightlineError } from '@sightline/shared/runtime/errors';

export interface RemoveDeps {
  index: VectorIndex;
  store: ObjectStore;
  ledger: Ledger;
  events: EventLog;
  /** Unix milliseconds. */
  now: () => number;
  sleep: (ms: number) => Promise<void>;
  /** The text vector of a point of this text. Throws `encoder_unavailable` when nobody answers in time. */
  encodePassage: (request: { tenant: string; text: string; traceId: string }) => Promise<Float32Array>;
}

interface RemoveContext {
  tenant: string;
  traceId: string;
}

const LEASE_MS = 30_000;
const BUSY_WAIT_MS = 100;
const BUSY_TRIES = 50;

/**
 * Removes one asset: its vectors, keywords, texts and stored thumbnails. What stays is a tombstone with reason `removed`, so that
 * the same bytes do not come back with the next ingestion; changed bytes do. The source is not touched.
 * Errors: `asset_not_found`, `asset_busy`, `events_unavailable` (it is removed, and not told yet: ask again).
 */
export async function removeAsset(deps: RemoveDeps, context: RemoveContext, assetId: string): Promise<Removal> {
  const { tenant } = context;
  const known = (await deps.index.get(tenant, [assetId])).get(assetId);
  // Whoever removed it may not have lived to tell: asked for again it is told again, under the same id.
  if (known?.deleted && known.deletedBecause === 'removed') await tell(deps, context, [assetId]);
  if (!known || known.deleted) throw new SightlineError('asset_not_found');
  await withLease(deps, [assetLockKey(tenant, assetId)], async (lease) => {
    const point = (await deps.index.get(tenant, [assetId])).get(assetId);
    if (!point || point.deleted) throw new SightlineError('asset_not_found');
    await bury(deps, [point], lease.version);
  });
  await tell(deps, context, [assetId]);
  return { removed: [assetId], detached: [] };
}

/**
 * Removes an item: its passages, and its pictures that no other item's record names. A picture that others name stays theirs: this
 * item's record is taken off it, and its text vector is made anew from what stays. A tombstone remembers a digest of the record:
 * while a manifest has the item as it was, it stays removed; a record that differs is a new one. When no encoder answers, the
 * shared pictures have no text vector until their source is ingested again. Errors: `item_not_found`, `asset_busy`.
 */
export async function removeItem(deps: RemoveDeps, context: RemoveContext, itemId: string): Promise<Removal> {
  const { tenant } = context;
  for (let attempt = 1; ; attempt++) {
    const known = new Set((await deps.index.findByItem(tenant, itemId)).map(({ assetId }) => assetId));
    if (known.size === 0) throw new SightlineError('item_not_found');
    const keys = [itemLockKey(tenant, itemId), ...[...known].map((assetId) => assetLockKey(tenant, assetId))];
    const removal = await withLease(deps, keys, async (lease) => {
      const points = await deps.index.findByItem(tenant, itemId);
      // Written in between, or removed by another: again with the locks of what there is now.
      if (points.length === 0 || points.some(({ assetId }) => !known.has(assetId))) return null;
      const shared = points.filter((point) => point.records.some((record) => record.itemId !== itemId));
      const alone = points.filter((point) => !shared.includes(point));
      await buryItem(deps, tenant, itemId, { points, alone }, lease.version);
      await detach(deps, context, shared, itemId, lease.version);
      return { removed: alone.map((point) => point.assetId).sort(), detached: shared.map((point) => point.assetId).sort() };
    });
    if (removal) {
      await tell(deps, context, [...removal.removed, ...removal.detached]);
      return removal;
    }
    if (attempt === BUSY_TRIES) throw new SightlineError('asset_busy');
  }
}

/** What the index says of these assets now, published. */
async function tell({ index, events }: RemoveDeps, { tenant, traceId }: RemoveContext, assetIds: string[]): Promise<void> {
  const points = await index.get(tenant, assetIds);
  const context = { service: 'query-api' as const, tenant, traceId, ingestionId: null };
  await events.publish([...points.values()].map((point) => eventOfPoint(point, index.spec, context)));
}

async function bury(deps: RemoveDeps, points: AssetPoint[], version: number): Promise<void> {
  const at = deps.now();
  await deps.index.delete(
    points.map(({ assetId, tenant, object }) => ({ assetId, tenant, version, reason: 'removed' as const, object, at })),
  );
  for (const point of points) await removeThumbnails(deps.store, point.tenant, point.assetId);
}

/** One step of the index: the tombstone that speaks for the item, whether passage 0 was a point or not, and what only it stood on. */
async function buryItem(
  deps: RemoveDeps,
  tenant: string,
  itemId: string,
  { points, alone }: { points: AssetPoint[]; alone: AssetPoint[] },
  version: number,
): Promise<void> {
  const at = deps.now();
  const firstId = passageAssetId(tenant, itemId, 0);
  const others = alone.filter(({ assetId }) => assetId !== firstId);
  await deps.index.delete([
    { assetId: firstId, tenant, version, reason: 'removed', object: null, sha256: digestOf(points, itemId), at },
    ...others.map(({ assetId, kind, object }) => {
      const reason = kind === 'picture' ? ('removed' as const) : ('gone' as const);
      return { assetId, tenant, version, reason, object, at };
    }),
  ]);
  for (const { kind, assetId } of others) if (kind === 'picture') await removeThumbnails(deps.store, tenant, assetId);
}

/** Of the record as the index has it: passage 0 is on every picture, the further ones are points. */
function digestOf(points: AssetPoint[], itemId: string): string {
  const passages = new Map<number, PointRecord>();
  for (const { passageNo, records } of points) {
    for (const record of records) if (record.itemId === itemId) passages.set(passageNo, record);
  }
  const ordered = [...passages].sort(([a], [b]) => a - b).map(([, record]) => record);
  const { title = '', attributes = {} } = ordered[0] ?? {};
  return recordDigest({ title, attributes, text: ordered.map(({ text }) => text).join('\n') });
}

async function detach(
  deps: RemoveDeps,
  context: RemoveContext,
  points: AssetPoint[],
  itemId: string,
  version: number,
): Promise<void> {
  const writes = await Promise.all(
    points.map(async (point) => {
      const records = point.records.filter((record) => record.itemId !== itemId);
      return {
        assetId: point.assetId,
        tenant: point.tenant,
        kind: point.kind,
        object: point.object,
        passageNo: point.passageNo,
        records,
        keywords: pointKeywords(records),
        vector: await textVector(deps, context, embeddedText(records)),
        recordVersion: version,
        indexedAt: deps.now(),
      };
    }),
  );
  if (writes.length > 0) await deps.index.writeRecords(writes);
}

/** Null also where no encoder answers: that must not keep a removal. */
async function textVector(deps: RemoveDeps, context: RemoveContext, text: string): Promise<Float32Array | null> {
  if (text === '') return null;
  try {
    return await deps.encodePassage({ ...context, text });
  } catch (error) {
    if (error instanceof SightlineError) return null;
    throw error;
  }
}

async function removeThumbnails(store: ObjectStore, tenant: string, assetId: string): Promise<void> {
  try {
    for await (const info of store.list({ bucket: SYSTEM_BUCKET, prefix: thumbnailPrefix(tenant, assetId) }))
      await store.delete(info);
  } catch (error) {
    // Nothing was ever stored there.
    if (!(error instanceof SightlineError && error.code === 'source_not_found')) throw error;
  }
}

/** Under the same leases as the encode workers, so that a write in progress cannot come after. */
async function withLease<T>(deps: RemoveDeps, keys: string[], step: (lease: KeyLease) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const lease = await deps.ledger.leaseKeys(keys, { ttlMs: LEASE_MS });
    try {
      if (lease.busy.length === 0) return await step(lease);
    } finally {
      await deps.ledger.releaseKeys(lease.token);
    }
    if (attempt === BUSY_TRIES) throw new SightlineError('asset_busy');
    await deps.sleep(BUSY_WAIT_MS);
  }
}
