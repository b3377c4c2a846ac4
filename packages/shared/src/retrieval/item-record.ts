import type { PointRecord } from '../contracts/records.ts';
import type { AssetPoint } from '../ports/vector-index.ts';

/** An item's record put together from its live points: the newest of them, and its whole text, passages in order. Null where none carries it. */
export function itemRecordOf(points: AssetPoint[], itemId: string): { newest: PointRecord; text: string } | null {
  const passages = new Map<number, PointRecord>();
  let newest: PointRecord | null = null;
  for (const { passageNo, records } of points.toSorted((a, b) => a.recordVersion - b.recordVersion)) {
    const record = records.find((one) => one.itemId === itemId);
    if (!record) continue;
    passages.set(passageNo, record);
    newest = record;
  }
  if (!newest) return null;
  const ordered = [...passages].sort(([a], [b]) => a - b);
  return { newest, text: ordered.map(([, { text }]) => text).join('\n') };
}
