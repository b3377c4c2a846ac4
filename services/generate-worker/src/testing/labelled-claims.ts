import { readFileSync } from 'node:fs';
import { manifestLine, type ManifestLine } from '@sightline/shared/contracts/records';
import { wordsOf } from '../core/build-prompt.ts';
import type { ClaimSource } from '../core/grounding/check-claims.ts';

/** A line of test/fixtures/claims.jsonl; `sources` are items of the sample. */
export interface LabelledClaim {
  claim: string;
  sources: string[];
  label: 'supported' | 'unsupported';
  kind: string;
  lang: string;
  /** `fresh`: written once the rules were as they are, after `report` had been looked at. */
  use: 'fit' | 'report' | 'fresh';
}

const linesOf = (path: string): unknown[] =>
  readFileSync(new URL(`../../../../${path}`, import.meta.url), 'utf8')
    .trim()
    .split('\n')
    .map((line): unknown => JSON.parse(line));

let records: Map<string, ManifestLine> | null = null;

export function labelledClaims(): LabelledClaim[] {
  return linesOf('test/fixtures/claims.jsonl') as LabelledClaim[];
}

/** What a claim cites, in the words that a prompt would show. */
export function sourcesOf({ sources }: Pick<LabelledClaim, 'sources'>): ClaimSource[] {
  records ??= new Map(
    linesOf('sample/manifest.jsonl')
      .map((line) => manifestLine.parse(line))
      .map((record) => [record.item_id, record]),
  );
  const known = records;
  return sources.map((itemId, i) => {
    const { title, text, attributes } = known.get(itemId)!;
    const citationId = `c${i + 1}`;
    const seen = { sha256: null, recordDigest: null };
    const citation = { citationId, assetId: '', itemId, object: null, title, relevanceScore: 1, seen };
    return { n: i + 1, citationId, text: wordsOf({ n: i + 1, citation, text, attributes, picture: null }), picture: null };
  });
}
