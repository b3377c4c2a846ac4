import type { Filter, FilterValue } from '../contracts/filter.ts';
import type { PointRecord } from '../contracts/records.ts';

type Scalar = string | number | boolean;

/** Whether one record satisfies the whole filter, as contracts/filter.ts says; types are compared too ("1" is not 1). */
export function matchesFilter(record: PointRecord, filter: Filter | undefined): boolean {
  return Object.entries(filter ?? {}).every(([name, wanted]) => {
    const value = name === 'item_id' ? record.itemId : record.attributes[name];
    if (value === undefined) return false;
    return (Array.isArray(value) ? value : [value]).some((one) => matchesValue(one, wanted));
  });
}

function matchesValue(value: Scalar, wanted: FilterValue): boolean {
  if (Array.isArray(wanted)) return wanted.includes(value);
  if (typeof wanted !== 'object') return value === wanted;
  if (typeof value !== 'number') return false;
  const { gt = -Infinity, gte = -Infinity, lt = Infinity, lte = Infinity } = wanted;
  const aboveLow = wanted.gt === undefined || value > gt;
  const belowHigh = wanted.lt === undefined || value < lt;
  return aboveLow && belowHigh && value >= gte && value <= lte;
}
