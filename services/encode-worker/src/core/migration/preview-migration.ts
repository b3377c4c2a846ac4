import { embeddedText } from '@sightline/shared/ingestion/point-text';
import type { Migration, MigrationPreview, MigrationQuery } from '@sightline/shared/contracts/migrations';
import type { EncodeQueryResult } from '@sightline/shared/contracts/jobs';
import { changedSpaces } from '@sightline/shared/migration/same-spec';
import type { IndexSpec, PointCopy, Space, VectorIndex } from '@sightline/shared/ports/vector-index';
import { cosine } from '@sightline/shared/retrieval/cosine';
import { toSightlineError } from '@sightline/shared/runtime/errors';
import type { MigrationDeps } from './migration-deps.ts';
import { compareQuality, foundOf, fuse, LEG_HITS, type Ranking } from './migration-quality.ts';
import { samplePoints, titleQueries } from './sample-points.ts';

/** Pictures under way at once; the feed bounds their bytes. */
const AT_ONCE = 32;
const FLOAT_BYTES = 4;

interface Sampled {
  copy: PointCopy;
  before: PointCopy['vectors'];
  after: PointCopy['vectors'];
}

/**
 * What the new pack would change, on a sample: points with what the queries should find among them are encoded by it as well, and the
 * queries are asked of both, by the exact cosines of the picture's and the text's space. Nothing is written. Keywords are left out:
 * they are the same for both. Errors: those of the encoders.
 */
export async function previewMigration(
  deps: MigrationDeps,
  { from, queries }: Migration,
  spec: IndexSpec,
  signal: AbortSignal,
): Promise<MigrationPreview> {
  const source = await deps.open(from.version);
  const changed = changedSpaces(from.spec, spec);
  const sample = await samplePoints(source, deps.settings.samplePoints);
  const asked = queries.length > 0 ? queries : titleQueries(sample, deps.settings.sampleQueries);
  const known = new Set(sample.map(({ assetId }) => assetId));
  for (const copy of await labelledPoints(source, asked)) {
    if (!known.has(copy.assetId)) sample.push(copy);
    known.add(copy.assetId);
  }
  const startedAt = performance.now();
  const { sampled, failed } = await encodeSample(deps, source, sample, changed, signal);
  const seconds = (performance.now() - startedAt) / 1000;

  const counts = await Promise.all((await source.tenants()).map((tenant) => source.count(tenant)));
  const points = counts.reduce((sum, { live }) => sum + live, 0);
  const perPoint = sample.reduce((sum, { vectors }) => sum + bytesOf(vectors, spec), 0) / Math.max(1, sample.length);
  const ranking =
    (when: 'before' | 'after'): Ranking =>
    async ({ tenant, query }) =>
      rank(
        sampled.filter(({ copy }) => copy.tenant === tenant),
        when,
        await deps.encodeQuery(when === 'before' ? from.spec : spec, tenant, query),
      );
  return {
    quality: await compareQuality(asked, queries.length > 0 ? 'request' : 'titles', {
      before: ranking('before'),
      after: ranking('after'),
    }),
    sampled_points: sample.length,
    points,
    changed_spaces: changed,
    estimated_seconds: sample.length === 0 ? null : Math.ceil((seconds / sample.length) * points),
    vector_bytes: Math.round(perPoint * points),
    failed_points: failed,
  };
}

function bytesOf(vectors: PointCopy['vectors'], spec: IndexSpec): number {
  return (['image', 'text'] as const).reduce(
    (sum, space) => sum + (vectors[space] ? spec[space].dimensions * FLOAT_BYTES : 0),
    0,
  );
}

async function labelledPoints(source: VectorIndex, queries: MigrationQuery[]): Promise<PointCopy[]> {
  const copies: PointCopy[] = [];
  for (const { tenant, relevant } of queries) {
    const ids = new Set<string>();
    for (const id of relevant) {
      for (const { assetId } of await source.findByItem(tenant, id)) ids.add(assetId);
      if (UUID.test(id)) ids.add(id);
    }
    if (ids.size > 0) copies.push(...(await source.copies(tenant, { assetIds: [...ids] })));
  }
  return copies.filter(({ image, record }) => image?.live || record?.live);
}

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;

async function encodeSample(
  deps: MigrationDeps,
  source: VectorIndex,
  sample: PointCopy[],
  changed: Space[],
  signal: AbortSignal,
): Promise<{ sampled: Sampled[]; failed: number }> {
  // Past the index: no vector of the old pack may stand for one of the new.
  const feed = deps.feedOf({ ...source, spec: source.spec, findImageVectors: async () => new Map() });
  const sampled: Sampled[] = sample.map((copy) => ({
    copy,
    before: copy.vectors,
    after: {
      ...(copy.vectors.image && !changed.includes('image') && { image: copy.vectors.image }),
      ...(copy.vectors.text && !changed.includes('text') && { text: copy.vectors.text }),
    },
  }));
  let failed = 0;
  const encodeOne = async ({ copy, after }: Sampled): Promise<void> => {
    const { tenant, object, sizeBytes, vectors } = copy;
    if (object && vectors.image && changed.includes('image')) {
      try {
        after.image = (await feed.take(tenant, { ...object, sizeBytes: sizeBytes ?? 0 }, { signal })).vector;
      } catch (thrown) {
        if (signal.aborted || toSightlineError(thrown).retryable) throw thrown;
        failed += 1;
      }
    }
    if (!vectors.text || !changed.includes('text')) return;
    const [encoded] = await deps.encoder.encodeTexts([embeddedText(copy.records)], {
      space: 'text',
      purpose: 'passage',
      lane: 'bulk',
      signal,
    });
    if (encoded) after.text = encoded.vector;
  };
  for (let at = 0; at < sampled.length; at += AT_ONCE) await Promise.all(sampled.slice(at, at + AT_ONCE).map(encodeOne));
  return { sampled, failed };
}

function rank(sampled: Sampled[], when: 'before' | 'after', encoded: EncodeQueryResult) {
  const leg = (space: Space, query: number[] | undefined) => {
    if (!query) return [];
    const scored = sampled.flatMap((one) => {
      const vector = one[when][space];
      return vector ? [{ copy: one.copy, score: cosine(query, vector) }] : [];
    });
    scored.sort((a, b) => b.score - a.score || (a.copy.assetId < b.copy.assetId ? -1 : 1));
    return scored.slice(0, LEG_HITS).map(({ copy }) => foundOf(copy));
  };
  return fuse([leg('image', encoded.wordsInImageSpace), leg('text', encoded.wordsInTextSpace)]);
}
