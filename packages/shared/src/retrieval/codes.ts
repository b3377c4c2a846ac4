import type { PointRecord } from '../contracts/records.ts';
import { codesIn, numberedNamesIn } from './analyser.ts';

/** How many of a query's codes (as `codesIn` reads them) stand exactly in a record: its id, title, text or attribute values. */
export function countCodes(record: PointRecord, codes: string[]): number {
  const values = () => Object.values(record.attributes).flat().map(String);
  return countStanding(codes, () => codesIn([record.itemId, record.title, record.text, ...values()].join(' \n ')));
}

/** How many of a query's numbered names (as `numberedNamesIn` reads them) stand in a record's title. */
export function countNumberedNames({ title }: PointRecord, names: string[]): number {
  return countStanding(names, () => numberedNamesIn(title));
}

/** A record is read only where something is asked for. */
function countStanding(asked: string[], read: () => string[]): number {
  if (asked.length === 0) return 0;
  const standing = new Set(read());
  return asked.filter((one) => standing.has(one)).length;
}
