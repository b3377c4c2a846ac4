import type { Schemas } from '@qdrant/js-client-rest';
import { tenantIs } from './qdrant-filter.ts';
import { hasVector, VECTOR_NAMES, type StoredPoint } from './qdrant-point.ts';

/** Half of what Qdrant accepts in one request (32 MiB): a picture that many records share may be large. */
const MAX_REQUEST_BYTES = 16 * 1024 * 1024;
/** A number of a vector as JSON: sign, "0.", up to 19 digits, comma. */
const NUMBER_BYTES = 23;

type Operation = Schemas['UpdateOperation'];

/**
 * The requests that write these points, each if its stamp is among those `seen` or the point is not there, and take away the vectors
 * that they lost.
 */
export function upsertRequests(tenant: string, points: StoredPoint[], seen: Map<string, StoredPoint>): Operation[][] {
  return bySize(points).map((some) => {
    const before = some.flatMap(({ id }) => seen.get(id) ?? []);
    return [{ upsert: upsertOf(tenant, some, before) }, ...cleanings(tenant, some, seen)];
  });
}

export function stampIn(points: StoredPoint[]) {
  return { key: 'stamp', match: { any: points.map(({ payload }) => payload.stamp) } };
}

function upsertOf(tenant: string, points: StoredPoint[], before: StoredPoint[]): Schemas['PointsList'] {
  // Points that nobody has made yet are made in either mode.
  const guard =
    before.length === 0
      ? { update_mode: 'insert_only' as const }
      : { update_filter: { must: [tenantIs(tenant), stampIn(before)] } };
  return {
    points: points.map(({ id, payload, vector: { image, text, keywords } }) => ({
      id,
      payload,
      vector: {
        ...(image && { image: Array.from(image) }),
        ...(text && { text: Array.from(text) }),
        ...(keywords && { keywords }),
      },
    })),
    ...guard,
  };
}

function cleanings(tenant: string, points: StoredPoint[], seen: Map<string, StoredPoint>): Operation[] {
  return VECTOR_NAMES.flatMap((name) => {
    const without = points.filter((after) => {
      const before = seen.get(after.id);
      return before !== undefined && hasVector(before, name) && !hasVector(after, name);
    });
    if (without.length === 0) return [];
    const filter = { must: [{ has_id: without.map(({ id }) => id) }, tenantIs(tenant), stampIn(without)] };
    return [{ delete_vectors: { filter, vector: [name] } }];
  });
}

function bySize(points: StoredPoint[]): StoredPoint[][] {
  const requests: StoredPoint[][] = [];
  let bytes = Infinity;
  for (const point of points) {
    const { image, text, keywords } = point.vector;
    const numbers = (image?.length ?? 0) + (text?.length ?? 0) + 2 * (keywords?.indices.length ?? 0);
    // A character may take three bytes.
    const own = numbers * NUMBER_BYTES + 3 * JSON.stringify(point.payload).length;
    if (bytes + own > MAX_REQUEST_BYTES) {
      requests.push([]);
      bytes = 0;
    }
    requests.at(-1)?.push(point);
    bytes += own;
  }
  return requests;
}
