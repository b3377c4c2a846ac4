import { hash } from 'node:crypto';
import type { Schemas } from '@qdrant/js-client-rest';
import { pictureAssetId } from '../contracts/ids.ts';
import type { Filter, FilterValue } from '../contracts/filter.ts';
import type { PointRecord } from '../contracts/records.ts';

type Scalar = string | number | boolean;
export type QdrantFilter = Schemas['Filter'];
export type Condition = Schemas['FieldCondition'] | Schemas['HasIdCondition'] | Schemas['HasVectorCondition'] | NestedOrFilter;
type NestedOrFilter = Schemas['NestedCondition'] | QdrantFilter;

export function tenantIs(tenant: string): Condition {
  return { key: 'tenant', match: { value: tenant } };
}

/**
 * A field and its value as one whole number below 2^48, the point's entry in the index on `facets`. One index so serves the equality
 * of every attribute there is, whatever a catalogue calls them; numbers that coincide are sorted out by `recordMatches`.
 */
function facet(name: string, value: Scalar): number {
  return Number.parseInt(hash('sha256', JSON.stringify([name, typeof value, value]), 'hex').slice(0, 12), 16);
}

/** No attribute is called so: their names have no NUL. */
const PICTURE = '\0picture';
const PUSHED = '\0pushed';

/**
 * What `facets` holds of a point's records: their attributes, the asset ids of the pictures that they name, and whether one was
 * pushed. The record's own id wins over an attribute called item_id.
 */
export function facetsOf(tenant: string, records: PointRecord[]): number[] {
  const facets = new Set<number>();
  for (const { itemId, attributes, pictures, pushed } of records) {
    for (const { bucket, key } of pictures) facets.add(facet(PICTURE, pictureAssetId(tenant, bucket, key)));
    if (pushed) facets.add(facet(PUSHED, true));
    for (const [name, value] of Object.entries({ ...attributes, item_id: itemId }))
      for (const one of Array.isArray(value) ? value : [value]) facets.add(facet(name, one));
  }
  return [...facets];
}

/** Of the tenant's points those of which one record satisfies every field. */
export function searchFilter(tenant: string, filter: Filter | undefined): { must: Condition[] } {
  const fields = Object.entries(filter ?? {});
  if (fields.length === 0) return { must: [tenantIs(tenant)] };
  // The first conditions narrow by index; the nested one decides, record by record.
  return {
    must: [
      tenantIs(tenant),
      ...fields.flatMap(([name, wanted]) => narrowed(name, wanted)),
      { nested: { key: 'records', filter: { must: fields.map(([name, wanted]) => matches(name, wanted)) } } },
    ],
  };
}

/** Of the tenant's points those whose records name one of these pictures, and a few that do not: see `facet`. */
export function namingFilter(tenant: string, assetIds: string[]): { must: Condition[] } {
  return { must: [tenantIs(tenant), { key: 'facets', match: { any: assetIds.map((id) => facet(PICTURE, id)) } }] };
}

/** Points with a pushed record. */
export function pushedFilter(tenant: string): { must: Condition[] } {
  const isPushed = { nested: { key: 'records', filter: { must: [{ key: 'pushed', match: { value: true } }] } } };
  return { must: [tenantIs(tenant), { key: 'facets', match: { any: [facet(PUSHED, true)] } }, isPushed] };
}

function narrowed(name: string, wanted: FilterValue): Condition[] {
  if (typeof wanted === 'object' && !Array.isArray(wanted)) return [];
  const values = Array.isArray(wanted) ? wanted : [wanted];
  return [{ key: 'facets', match: { any: values.map((value) => facet(name, value)) } }];
}

function matches(name: string, wanted: FilterValue): Condition {
  // Quoted: an attribute's name may hold full stops, which part a path.
  const key = name === 'item_id' ? 'itemId' : `attributes."${name}"`;
  if (typeof wanted === 'object' && !Array.isArray(wanted)) return { key, range: wanted };
  const values = Array.isArray(wanted) ? wanted : [wanted];
  return {
    should: [
      ...anyOf(
        key,
        values.filter((value) => typeof value === 'string'),
      ),
      ...anyOf(key, values.filter((value) => Number.isSafeInteger(value)).map(Number)),
      ...values.filter((value) => typeof value === 'boolean').map((value) => ({ key, match: { value } })),
      // Qdrant matches whole numbers only: a fraction equals what lies in the range from it to itself.
      ...values
        .filter((value) => typeof value === 'number')
        .filter((value) => !Number.isSafeInteger(value))
        .map((value) => ({ key, range: { gte: value, lte: value } })),
    ],
  };
}

function anyOf(key: string, values: string[] | number[]): Condition[] {
  return values.length === 0 ? [] : [{ key, match: { any: values } }];
}
