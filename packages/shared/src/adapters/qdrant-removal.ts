import type { Schemas } from '@qdrant/js-client-rest';
import type { QdrantConnection } from './qdrant-connection.ts';
import { tenantIs, type Condition } from './qdrant-filter.ts';

/** Points dropped in one request: some hundredths of a second of the server's time. */
const PAGE = 2_000;

/** What takes points out of the collection for good. */
export function indexRemovals(connection: QdrantConnection, collection: string, ordering: Schemas['WriteOrdering']) {
  /** Drops the tenant's points that meet the conditions, a page at a time, and answers how many. */
  const drop = async (tenant: string, conditions: Condition[]): Promise<number> => {
    const must = [tenantIs(tenant), ...conditions];
    for (let dropped = 0; ;) {
      const { points } = await connection.call((client) =>
        client.scroll(collection, { filter: { must }, limit: PAGE, with_payload: false }),
      );
      if (points.length === 0) return dropped;
      const those = { has_id: points.map(({ id }) => id) };
      // The conditions once more: a tombstone that a newer write revived meanwhile stays.
      await connection.call((client) => client.delete(collection, { wait: true, ordering, filter: { must: [those, ...must] } }));
      const left = await connection.call((client) =>
        client.count(collection, { filter: { must: [those, tenantIs(tenant)] }, exact: true }),
      );
      dropped += points.length - left.count;
    }
  };

  return {
    purge: (tenant: string, before: number): Promise<number> =>
      drop(tenant, [
        { key: 'deleted', match: { value: true } },
        { key: 'deletedAt', range: { lt: before } },
        { key: 'deletedBecause', match: { except: ['removed'] } },
      ]),

    deleteTenant: (tenant: string): Promise<number> => drop(tenant, []),
  };
}
