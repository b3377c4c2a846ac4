import { pictureAssetId } from '../contracts/ids.ts';
import type { Filter } from '../contracts/filter.ts';
import type { AssetPoint, IndexSpec, Leg, LegHit, PointCopy, Space } from '../ports/vector-index.ts';
import type { QdrantConnection } from './qdrant-connection.ts';
import { namingFilter, pushedFilter, searchFilter, tenantIs, type Condition, type QdrantFilter } from './qdrant-filter.ts';
import { HAS_FIELD, pointId, readStoredPoint, toAssetPoint, toPointCopy, type StoredPoint } from './qdrant-point.ts';
import { sampleIds } from './qdrant-sample.ts';
import { searchLegs, type SearchSettings } from './qdrant-search.ts';

/** Points in one answer; with their vectors and texts some 10 kB each. */
const PAGE = 500;
/** As many as the embedded index takes. */
const MOST_TENANTS = 2 ** 17;

/** The reading half of the index. Every request carries the tenant's filter. */
export function indexReads(connection: QdrantConnection, collection: string, spec: IndexSpec, settings: SearchSettings) {
  const page = async (
    filter: QdrantFilter,
    limit: number,
    vectors: boolean | Space[],
    offset: string | null = null,
  ): Promise<StoredPoint[]> => {
    const { points } = await connection.call((client) =>
      client.scroll(collection, { filter, limit, offset, with_payload: true, with_vector: vectors }),
    );
    return points.map(readStoredPoint);
  };

  const byIds = async (tenant: string, ids: string[], vectors: boolean | Space[]): Promise<StoredPoint[]> => {
    const pages: StoredPoint[][] = [];
    for (let from = 0; from < ids.length; from += PAGE) {
      const some = ids.slice(from, from + PAGE);
      pages.push(await page({ must: [{ has_id: some }, tenantIs(tenant)] }, some.length, vectors));
    }
    return pages.flat();
  };

  const all = async (filter: QdrantFilter): Promise<AssetPoint[]> => {
    const found: AssetPoint[] = [];
    for (let offset: string | null = null; ;) {
      const points = await page(filter, PAGE, false, offset);
      found.push(...points.map((point) => toAssetPoint(point, false)));
      const last = points.at(-1);
      if (!last || points.length < PAGE) return found;
      offset = following(last.id);
    }
  };

  const count = async (...must: Condition[]): Promise<number> => {
    const answer = await connection.call((client) => client.count(collection, { filter: { must }, exact: true }));
    return answer.count;
  };

  return {
    async get(tenant: string, assetIds: string[], { withVectors = false } = {}): Promise<Map<string, AssetPoint>> {
      const ids = [...new Set(assetIds.flatMap((assetId) => pointId(tenant, assetId) ?? []))];
      const points = await byIds(tenant, ids, withVectors && VECTORS);
      return new Map(points.map((point) => toAssetPoint(point, withVectors)).map((point) => [point.assetId, point]));
    },

    async findImageVectors(tenant: string, sha256s: string[]) {
      const found = new Map<string, { vector: Float32Array; widthPx: number; heightPx: number }>();
      // One content may lie under any number of keys: a page may hold one content alone, and the next asks for the others.
      for (let missing = [...new Set(sha256s)]; missing.length > 0; missing = missing.filter((sha256) => !found.has(sha256))) {
        const asked = missing.slice(0, PAGE);
        const match = { key: 'sha256', match: { any: asked } };
        const points = await page({ must: [tenantIs(tenant), match, { key: HAS_FIELD.image, match: { value: true } }] }, PAGE, [
          'image',
        ]);
        for (const { payload, vector } of points) {
          const { sha256, widthPx, heightPx } = payload;
          if (sha256 === null || found.has(sha256) || !vector.image) continue;
          found.set(sha256, { vector: vector.image, widthPx: widthPx ?? 0, heightPx: heightPx ?? 0 });
        }
        // A full page may have pushed others out; one that is not full says that the rest is not there.
        if (points.length < PAGE) missing = missing.slice(PAGE);
      }
      return found;
    },

    findByItem(tenant: string, itemId: string): Promise<AssetPoint[]> {
      return all(searchFilter(tenant, { item_id: itemId }));
    },

    async findByPicture(tenant: string, assetIds: string[]): Promise<Map<string, AssetPoint[]>> {
      const found = new Map<string, AssetPoint[]>();
      const ids = [...new Set(assetIds)];
      for (let from = 0; from < ids.length; from += PAGE) {
        const asked = new Set(ids.slice(from, from + PAGE));
        for (const point of await all(namingFilter(tenant, [...asked]))) {
          const named = point.records.flatMap(({ pictures }) => pictures);
          for (const id of new Set(named.map(({ bucket, key }) => pictureAssetId(tenant, bucket, key))))
            if (asked.has(id)) found.set(id, [...(found.get(id) ?? []), point]);
        }
      }
      return found;
    },

    search(tenant: string, filter: Filter | undefined, legs: Leg[]): Promise<LegHit[][]> {
      return searchLegs({ connection, collection, spec, settings }, tenant, filter, legs);
    },

    async sample(tenant: string, space: Space, limit: number): Promise<Float32Array[]> {
      const filter = { must: [tenantIs(tenant), { key: HAS_FIELD[space], match: { value: true } }] };
      const ids = await sampleIds({ connection, collection }, filter, Math.max(0, limit));
      const points = await byIds(tenant, ids, [space]);
      return points.flatMap(({ vector }) => vector[space] ?? []);
    },

    async scan(
      tenant: string,
      { after, limit, withVectors = false, pushed }: { after?: string; limit: number; withVectors?: boolean; pushed?: boolean },
    ) {
      if (limit <= 0) return [];
      const filter = pushed ? pushedFilter(tenant) : { must: [tenantIs(tenant)] };
      const id = after === undefined ? null : pointId(tenant, after);
      const points = await page(filter, limit, withVectors && VECTORS, id && following(id));
      return points.map((point) => toAssetPoint(point, withVectors));
    },

    async tenants(): Promise<string[]> {
      const { hits } = await connection.call((client) =>
        client.facet(collection, { key: 'tenant', limit: MOST_TENANTS, exact: true }),
      );
      // Of a tenant whose points are gone the index of the payload may keep the name.
      return hits.flatMap(({ value, count: points }) => (points > 0 ? String(value) : [])).sort();
    },

    async copies(tenant: string, which: { assetIds: string[] } | { after?: string; limit: number }): Promise<PointCopy[]> {
      if ('assetIds' in which) {
        const ids = [...new Set(which.assetIds.flatMap((assetId) => pointId(tenant, assetId) ?? []))];
        return (await byIds(tenant, ids, VECTORS)).map(toPointCopy);
      }
      if (which.limit <= 0) return [];
      const id = which.after === undefined ? null : pointId(tenant, which.after);
      const points = await page({ must: [tenantIs(tenant)] }, which.limit, VECTORS, id && following(id));
      return points.map(toPointCopy);
    },

    async count(tenant: string): Promise<{ live: number; deleted: number }> {
      const [live, deleted] = await Promise.all(
        [false, true].map((value) => count(tenantIs(tenant), { key: 'deleted', match: { value } })),
      );
      return { live: live ?? 0, deleted: deleted ?? 0 };
    },
  };
}

const VECTORS: Space[] = ['image', 'text'];

/** The id after this one: pages begin with the id that they are asked for. */
function following(id: string): string {
  const digits = (BigInt(`0x${id.replaceAll('-', '')}`) + 1n).toString(16).padStart(32, '0').slice(-32);
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
