import type { PointRecord } from '../contracts/records.ts';
import { analyse } from '../retrieval/analyser.ts';

/** What a point's text vector is made from: titles and passages of the records on it; empty when they have neither. */
export function embeddedText(records: PointRecord[]): string {
  return records
    .flatMap(({ title, text }) => [title, text])
    .filter((part) => part.trim() !== '')
    .join('\n');
}

/** What the keyword leg finds a point by: also the items' ids and every attribute's value, so that codes and SKUs are found. */
export function pointKeywords(records: PointRecord[]): string[] {
  return records.flatMap(({ itemId, title, text, attributes }) =>
    [
      itemId,
      title,
      text,
      ...Object.values(attributes)
        .flat()
        .filter((value) => typeof value !== 'boolean')
        .map(String),
    ].flatMap(analyse),
  );
}

/** Equal in everything that is kept; the order of attributes does not count. */
export function sameRecords(a: PointRecord[], b: PointRecord[]): boolean {
  return a.length === b.length && a.every((record, i) => canonical(record) === canonical(b[i]));
}

function canonical(record: PointRecord | undefined): string {
  if (!record) return '';
  const attributes = Object.entries(record.attributes).sort(([a], [b]) => (a < b ? -1 : 1));
  const pictures = record.pictures.map(({ bucket, key }) => [bucket, key]);
  return JSON.stringify([record.itemId, record.title, record.text, attributes, pictures, record.pushed]);
}
