/**
 * `npm run bench:fusion -- --alias <an index that bench:index kept> [--queries 200]`: reciprocal rank fusion by the server against that
 * by our pure function over the same legs: how far the first ten agree, and what each takes. The Qdrant is the one of QDRANT_URL.
 */
import { parseArgs } from 'node:util';
import type { Schemas } from '@qdrant/js-client-rest';
import { QdrantConnection } from '@sightline/shared/adapters/qdrant-connection';
import { tenantIs } from '@sightline/shared/adapters/qdrant-filter';
import { queryVector } from '@sightline/shared/adapters/qdrant-keywords';
import { assetIdOf } from '@sightline/shared/adapters/qdrant-point';
import { openQdrantVectorIndex } from '@sightline/shared/adapters/qdrant-vector-index';
import { reciprocalRankFusion, RRF_K } from '@sightline/shared/retrieval/reciprocal-rank-fusion';
import { LOAD_TENANT, loadRecord, loadVector, quantile } from './index-load.ts';

const { values: options } = parseArgs({
  options: { alias: { type: 'string' }, queries: { type: 'string', default: '200' } },
});
const url = process.env['QDRANT_URL'];
if (!url || !options.alias) throw new Error('Name a Qdrant (QDRANT_URL) and an index in it (--alias).');
const alias = options.alias;
const place = { url, ...(process.env['QDRANT_API_KEY'] && { apiKey: process.env['QDRANT_API_KEY'] }) };
const index = await openQdrantVectorIndex({ ...place, alias, search: { exact: true } });
const connection = new QdrantConnection(place);

const LIMIT = 50;
const TOP = 10;
/** Qdrant counts ranks from 0 and adds k - 1, so that the paper's 60 is its 61. */
const SERVER_K = RRF_K + 1;

async function ours(legs: Parameters<typeof index.search>[2], weights: number[]): Promise<string[]> {
  const answers = await index.search(LOAD_TENANT, undefined, legs);
  const ranked = answers.map((hits, i) => ({ weight: weights[i] ?? 1, ranking: hits.map((hit) => hit.assetId) }));
  const scores = [...reciprocalRankFusion(ranked)].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  return scores.slice(0, TOP).map(([id]) => id);
}

async function servers(prefetch: Schemas['Prefetch'][], weights: number[]): Promise<string[]> {
  const query = { rrf: { k: SERVER_K, weights } };
  const { points } = await connection.call((client) => client.query(alias, { prefetch, query, limit: TOP, with_payload: false }));
  return points.map(({ id }) => assetIdOf(LOAD_TENANT, String(id)));
}

for (const weights of [
  [1, 1, 1],
  [0.7, 0.2, 0.1],
]) {
  const overlaps: number[] = [];
  let sameOrder = 0;
  let sameFirst = 0;
  let repeatable = 0;
  const ms = { ours: [] as number[], server: [] as number[] };
  for (let n = 0; n < Number(options.queries); n++) {
    const { keywords } = loadRecord(n * 7);
    const [image, text, words] = [loadVector(n + 5_000_000, 0), loadVector(n + 5_000_000, 1), keywords.slice(3, 8)];
    const filter = { must: [tenantIs(LOAD_TENANT)] };
    const leg = (using: string, query: Schemas['Prefetch']['query']) => ({
      query,
      using,
      filter,
      limit: LIMIT,
      params: { exact: true },
    });
    const prefetch = [leg('image', Array.from(image)), leg('text', Array.from(text)), leg('keywords', queryVector(words))];
    let startedAt = performance.now();
    const mine = await ours(
      [
        { space: 'image', vector: image, limit: LIMIT },
        { space: 'text', vector: text, limit: LIMIT },
        { space: 'keywords', keywords: words, limit: LIMIT },
      ],
      weights,
    );
    ms.ours.push(performance.now() - startedAt);
    startedAt = performance.now();
    const theirs = await servers(prefetch, weights);
    ms.server.push(performance.now() - startedAt);
    overlaps.push(mine.filter((id) => theirs.includes(id)).length / TOP);
    if (mine.join() === theirs.join()) sameOrder += 1;
    if (mine[0] === theirs[0]) sameFirst += 1;
    if ((await servers(prefetch, weights)).join() === theirs.join()) repeatable += 1;
  }
  const share = (count: number) => `${((100 * count) / overlaps.length).toFixed(0)} %`;
  const times = (values: number[]) => `p50 ${quantile(values, 0.5).toFixed(1)} ms, p99 ${quantile(values, 0.99).toFixed(1)} ms`;
  console.log(
    `weights ${weights.join('/')}: of the first ${TOP} ${(100 * (overlaps.reduce((a, b) => a + b, 0) / overlaps.length)).toFixed(1)} % in common, ` +
      `same order ${share(sameOrder)}, same first ${share(sameFirst)}; server answers the same twice ${share(repeatable)}`,
  );
  console.log(`  legs fetched and fused here: ${times(ms.ours)}; fused by the server: ${times(ms.server)}`);
}
await connection.close();
await index.close();
