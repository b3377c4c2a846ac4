import type { SQLInputValue } from 'node:sqlite';
import type { Filter, FilterValue } from '../contracts/filter.ts';
import type { IdRange } from './sqlite-vector-index-format.ts';

const FALSE = new Uint8Array([0]);
const TRUE = new Uint8Array([1]);

/** An attribute's value as `attributes.value` holds it: see INDEX_FORMAT. */
export function storedValue(value: string | number | boolean): SQLInputValue {
  return typeof value === 'boolean' ? (value ? TRUE : FALSE) : value;
}

const COMPARISONS = { gt: '>', gte: '>=', lt: '<', lte: '<=' } as const;

function condition(wanted: FilterValue): { sql: string; params: SQLInputValue[] } {
  if (Array.isArray(wanted)) return { sql: `value IN (${wanted.map(() => '?').join(', ')})`, params: wanted.map(storedValue) };
  if (typeof wanted !== 'object') return { sql: 'value = ?', params: [storedValue(wanted)] };
  // Numbers sort before every text and blob, so the empty text ends the range of numbers.
  const parts = ["value < ''"];
  const params: SQLInputValue[] = [];
  for (const [bound, operator] of Object.entries(COMPARISONS)) {
    const limit = wanted[bound as keyof typeof COMPARISONS];
    if (limit === undefined) continue;
    parts.push(`value ${operator} ?`);
    params.push(limit);
  }
  return { sql: parts.join(' AND '), params };
}

/**
 * `id IN (...)`, or `true` for no filter: the points of which one record satisfies every field. Parameters are positional and
 * follow in order.
 */
export function filterSql(filter: Filter | undefined, range: IdRange): { sql: string; params: SQLInputValue[] } {
  const fields = Object.entries(filter ?? {}).map(([name, wanted]) => {
    const { sql, params } = condition(wanted);
    return {
      sql: `SELECT id, record_no FROM attributes WHERE name = ? AND ${sql} AND id > ? AND id <= ?`,
      params: [name, ...params, range.low, range.high],
    };
  });
  if (fields.length === 0) return { sql: 'true', params: [] };
  return {
    sql: `id IN (SELECT id FROM (${fields.map((field) => field.sql).join(' INTERSECT ')}))`,
    params: fields.flatMap((field) => field.params),
  };
}
