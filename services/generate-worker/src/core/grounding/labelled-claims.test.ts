import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { manifestLine } from '@sightline/shared/contracts/records';
import { wordsOf } from '../build-prompt.ts';
import { gather } from './check-claims.ts';
import { judgeClaim } from './judge-claim.ts';

const linesOf = (path: string) =>
  readFileSync(new URL(`../../../../../${path}`, import.meta.url), 'utf8')
    .trim()
    .split('\n')
    .map((line): unknown => JSON.parse(line));

test('on the labelled claims the rules are seldom wrong where they speak, and speak of most; bench/claim-check.ts has the figures', () => {
  const claims = linesOf('test/fixtures/claims.jsonl') as { claim: string; sources: string[]; label: string }[];
  const wanted = new Set(claims.flatMap(({ sources }) => sources));
  const lines = linesOf('sample/manifest.jsonl').filter((line) => wanted.has((line as { item_id: string }).item_id));
  const records = new Map(lines.map((line) => manifestLine.parse(line)).map((record) => [record.item_id, record]));
  expect(claims.length).toBeGreaterThanOrEqual(200);
  const judged = claims.map(({ claim, sources, label }) => {
    const cited = sources.map((itemId, i) => {
      const { title, text, attributes } = records.get(itemId)!;
      const citation = {
        citationId: '',
        assetId: '',
        itemId,
        object: null,
        title,
        relevanceScore: 1,
        seen: { sha256: null, recordDigest: null },
      };
      return {
        n: i + 1,
        citationId: `c${i + 1}`,
        text: wordsOf({ n: i + 1, citation, text, attributes, picture: null }),
        picture: null,
      };
    });
    return { label, verdict: judgeClaim({ ...gather(claim, cited), probability: null }).verdict };
  });
  for (const named of ['supported', 'unsupported']) {
    const said = judged.filter(({ verdict }) => verdict === named);
    const right = said.filter(({ label }) => label === named).length;
    expect(right / said.length).toBeGreaterThan(0.93);
    expect(right / judged.filter(({ label }) => label === named).length).toBeGreaterThan(0.55);
  }
});
