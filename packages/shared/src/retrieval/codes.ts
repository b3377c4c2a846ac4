import type { PointRecord } from '../contracts/records.ts';
import { codesIn, numberedNamesIn } from './analyser.ts';

/** How many of a query's codes (as `codesIn` reads them) stand exactly in a record: its id, title, text or attribute values. */
export function countCodes(record: PointRecord, codes: string[]): number {
  if (codes.length === 0) return 0;
  const values = Object.values(record.attributes).flat().map(String);
  const standing = new Set(codesIn([record.itemId, record.title, record.text, ...values].join(' \n ')));
  return codes.filter((code) => standing.has(code)).length;
}

/** How many of a query's numbered names (as `numberedNamesIn` reads them) stand in a record's title. */
export function countNumberedNames({ title }: PointRecord, names: string[]): number {
  if (names.length === 0) return 0;
  const standing = new Set(numberedNamesIn(title));
  return names.filter((name) => standing.has(name)).length;
}
