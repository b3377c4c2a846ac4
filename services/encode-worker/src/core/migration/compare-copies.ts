import type { PointCopy, PointHalf, Space } from '@sightline/shared/ports/vector-index';
import { sameRecords } from '@sightline/shared/ingestion/point-text';
import { cosine } from '@sightline/shared/retrieval/cosine';

/** What rounding leaves of two copies of one vector. */
const SAME_COSINE = 0.9999;

/**
 * How a point differs between two versions of the index; null when it does not. Of a changed space it counts that there is a vector, of
 * the others that it is the same. A tombstone that one of them has purged is no difference.
 */
export function difference(before: PointCopy | undefined, after: PointCopy | undefined, changed: Space[]): string | null {
  const isThere = (copy: PointCopy | undefined): boolean => Boolean(copy?.image?.live || copy?.record?.live);
  if (!before || !after) return isThere(before) ? 'missing' : isThere(after) ? 'extra' : null;
  if (!sameHalf(before.image, after.image)) return 'image version';
  if (!sameHalf(before.record, after.record)) return 'record version';
  if (before.kind !== after.kind || before.passageNo !== after.passageNo) return 'kind';
  if (!sameRecords(before.records, after.records)) return 'records';
  for (const field of ['sha256', 'sizeBytes', 'widthPx', 'heightPx'] as const) if (before[field] !== after[field]) return field;
  for (const field of ['bucket', 'key', 'eTag'] as const)
    if ((before.object?.[field] ?? null) !== (after.object?.[field] ?? null)) return field;
  for (const space of ['image', 'text'] as const) {
    const [a, b] = [before.vectors[space], after.vectors[space]];
    if (!a !== !b) return `${space} vector`;
    if (a && b && !changed.includes(space) && (a.length !== b.length || cosine(a, b) < SAME_COSINE)) return `${space} vector`;
  }
  return null;
}

function sameHalf(a: PointHalf | null, b: PointHalf | null): boolean {
  return a?.version === b?.version && a?.live === b?.live && a?.at === b?.at;
}
