import type { Schemas } from '@qdrant/js-client-rest';
import type { Deletion, IndexSpec, PictureWrite, PointCopy, RecordWrite } from '../ports/vector-index.ts';
import { SightlineError } from '../runtime/errors.ts';
import type { QdrantConnection } from './qdrant-connection.ts';
import { tenantIs } from './qdrant-filter.ts';
import { copyChange, deletionChange, newPoint, pictureChange, recordChange, type PointChange } from './qdrant-point-change.ts';
import { pointId, readStoredPoint, type StoredPoint, type VectorName } from './qdrant-point.ts';
import { stampIn, upsertRequests } from './qdrant-upsert.ts';
import { unitVector } from './unit-vector.ts';

/** With n writers on one point a writer loses at most n - 1 rounds for each of their writes; this many mean a fault. */
const MAX_ROUNDS = 100;

export interface WriteSettings {
  /** Points in one request, 64 to 256. */
  batchPoints: number;
  /** `strong` where points have replicas: guarded writes must reach them all in one order. */
  ordering: Schemas['WriteOrdering'];
}

interface Pending {
  id: string;
  tenant: string;
  changes: PointChange[];
}

type Vectors = VectorName[];

/**
 * The writing half of the index. A point is written whole, in one step that a reader sees before or after but never between, and
 * only if it still is what this writer read: its stamp guards the write, and what lost to another writer is read and made again. An
 * upsert that was let pass and one that was skipped answer alike, so the stamps are read back. Every step may be made twice.
 */
export function indexWrites(connection: QdrantConnection, collection: string, spec: IndexSpec, settings: WriteSettings) {
  /** The points by id. */
  const read = async (tenant: string, ids: string[], withVectors: Vectors): Promise<Map<string, StoredPoint>> => {
    const { points } = await connection.call((client) =>
      client.scroll(collection, {
        filter: { must: [{ has_id: ids }, tenantIs(tenant)] },
        limit: ids.length,
        with_payload: true,
        with_vector: withVectors,
      }),
    );
    return new Map(points.map((point) => [String(point.id), readStoredPoint(point)]));
  };

  /** Of these ids those whose point has this stamp now. */
  const landed = async (tenant: string, points: StoredPoint[]): Promise<Set<string>> => {
    const answer = await connection.call((client) =>
      client.scroll(collection, {
        filter: { must: [{ has_id: points.map(({ id }) => id) }, tenantIs(tenant), stampIn(points)] },
        limit: points.length,
        with_payload: false,
      }),
    );
    return new Set(answer.points.map(({ id }) => String(id)));
  };

  const upsert = async (tenant: string, points: StoredPoint[], seen: Map<string, StoredPoint>): Promise<void> => {
    const { ordering } = settings;
    for (const operations of upsertRequests(tenant, points, seen))
      await connection.call((client) => client.batchUpdate(collection, { wait: true, ordering, operations }));
  };

  /** One request's worth of points, until each is written or turned out to be old. `keeps` names the vectors of the other half. */
  const writeBatch = async (batch: Pending[], keeps: Vectors): Promise<void> => {
    const tenant = batch[0]?.tenant ?? '';
    let pending = batch;
    for (let round = 1; pending.length > 0; round++) {
      if (round > MAX_ROUNDS) throw new SightlineError('index_unavailable', 'Other writers kept changing the same points.');
      const stored = await read(
        tenant,
        pending.map(({ id }) => id),
        keeps,
      );
      const next = pending.flatMap((point) => {
        const before = stored.get(point.id) ?? newPoint(point.id, tenant);
        const after = point.changes.reduce((state, change) => change(state) ?? state, before);
        return after === before ? [] : [{ point, after }];
      });
      if (next.length === 0) return;
      const written = next.map(({ after }) => after);
      await upsert(tenant, written, stored);
      const done = await landed(tenant, written);
      pending = next.map(({ point }) => point).filter(({ id }) => !done.has(id));
    }
  };

  const write = async (changes: { tenant: string; assetId: string; change: PointChange }[], keeps: Vectors): Promise<void> => {
    for (const ofTenant of Map.groupBy(changes, ({ tenant }) => tenant).values()) {
      const points = new Map<string, Pending>();
      for (const { tenant, assetId, change } of ofTenant) {
        const id = pointId(tenant, assetId);
        if (id === null) throw new SightlineError('internal', `${assetId} is no asset id.`);
        const pending = points.get(id);
        if (pending) pending.changes.push(change);
        else points.set(id, { id, tenant, changes: [change] });
      }
      const all = [...points.values()];
      for (let from = 0; from < all.length; from += settings.batchPoints)
        await writeBatch(all.slice(from, from + settings.batchPoints), keeps);
    }
  };

  return {
    async writePictures(writes: PictureWrite[]): Promise<void> {
      const changes = writes.map((one) => ({ ...one, change: pictureChange(one, unitVector(spec, 'image', one.vector)) }));
      await write(changes, ['text', 'keywords']);
    },

    async writeRecords(writes: RecordWrite[]): Promise<void> {
      const changes = writes.map((one) => {
        const vector = one.vector && unitVector(spec, 'text', one.vector);
        return { ...one, change: recordChange(one, vector) };
      });
      await write(changes, ['image']);
    },

    async putCopies(copies: (PointCopy & { keywords: string[] })[]): Promise<void> {
      const changes = copies.map((copy) => {
        const { image, text } = copy.vectors;
        const vectors = {
          ...(image && { image: unitVector(spec, 'image', image) }),
          ...(text && { text: unitVector(spec, 'text', text) }),
        };
        return { tenant: copy.tenant, assetId: copy.assetId, change: copyChange(copy, vectors) };
      });
      await write(changes, ['image', 'text', 'keywords']);
    },

    async delete(deletions: Deletion[]): Promise<void> {
      const changes = deletions.map((one) => ({ ...one, change: deletionChange(one) }));
      await write(changes, ['image', 'text', 'keywords']);
    },
  };
}
