import { createHash } from 'node:crypto';
import type { SearchResult } from '@sightline/shared/contracts/http';
import type { Citation } from '@sightline/shared/contracts/questions';
import type { Attributes } from '@sightline/shared/contracts/records';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { itemRecordOf } from '@sightline/shared/retrieval/item-record';
import type { Letterboxed } from './grounding/letterbox.ts';

/** Something that was retrieved for a question, with what the model may be shown of it. */
export interface Source {
  /** From 1, by relevance: `[n]` in the prompt and the answer. */
  n: number;
  citation: Omit<Citation, 'quote'>;
  text: string;
  attributes: Attributes;
  /** Null too where it is there and cannot be shown. */
  picture: SourcePicture | null;
}

export interface SourcePicture {
  bucket: string;
  key: string;
  eTag: string;
}

/** A picture made ready for the model, and where its bytes are. */
export interface ReadyPicture {
  object: SourcePicture;
  shown: Letterboxed;
}

/** An item's whole words, its passages joined. */
interface WholeRecord {
  title: string;
  text: string;
  attributes: Attributes;
}

/** A record's digest: title, text of all its passages, attributes. What an answer read is compared by it later. */
export function digestOf(record: WholeRecord): string {
  const attributes = Object.entries(record.attributes).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([record.title, record.text, attributes]))
    .digest('hex');
}

/** An item's record as the index holds it, its passages joined; null when no live point carries it. */
export async function recordOf(
  index: Pick<VectorIndex, 'findByItem'>,
  tenant: string,
  itemId: string,
): Promise<WholeRecord | null> {
  const found = itemRecordOf(await index.findByItem(tenant, itemId), itemId);
  return found && { title: found.newest.title, attributes: found.newest.attributes, text: found.text };
}

/** What an asset's cited half is at this moment; nulls where there is none (any more). */
export async function standingOf(
  index: Pick<VectorIndex, 'findByItem' | 'get'>,
  tenant: string,
  { assetId, itemId }: { assetId: string; itemId: string | null },
): Promise<{ live: boolean; seen: Citation['seen']; record: WholeRecord | null; picture: SourcePicture | null }> {
  const point = (await index.get(tenant, [assetId])).get(assetId);
  const record = itemId === null ? null : await recordOf(index, tenant, itemId);
  const live = point !== undefined && !point.deleted;
  const { object } = point ?? {};
  return {
    live: itemId === null ? live : record !== null,
    seen: { sha256: live ? point.sha256 : null, recordDigest: record ? digestOf(record) : null },
    record,
    picture:
      live && point.hasImage && object && object.eTag !== null
        ? { bucket: object.bucket, key: object.key, eTag: object.eTag }
        : null,
  };
}

/**
 * The search's results as sources, with what they are at this moment. One that went meanwhile is left out; of one that changed meanwhile the
 * present words are taken, so that what is shown and what is written down as seen are the same.
 */
export async function sourcesOf(
  index: Pick<VectorIndex, 'findByItem' | 'get'>,
  tenant: string,
  results: SearchResult[],
): Promise<Source[]> {
  const standing = await Promise.all(
    results.map((result) => standingOf(index, tenant, { assetId: result.asset_id, itemId: result.item_id })),
  );
  return results
    .flatMap((result, i) => {
      const now = standing[i];
      return now?.live ? [{ result, now }] : [];
    })
    .map(({ result, now: { record, seen, picture } }, i) => ({
      n: i + 1,
      citation: {
        citationId: `c${i + 1}`,
        assetId: result.asset_id,
        itemId: result.item_id,
        object: result.object,
        title: record?.title ?? '',
        relevanceScore: result.relevance_score,
        seen,
      },
      text: !record || record.text.includes(result.text) ? result.text : record.text,
      attributes: record?.attributes ?? {},
      picture,
    }));
}
