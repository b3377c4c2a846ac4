import type { Migration, MigrationGate } from '@sightline/shared/contracts/migrations';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { compareVersions } from './compare-versions.ts';
import type { MigrationDeps } from './migration-deps.ts';
import { compareQuality, rankingOf } from './migration-quality.ts';
import { samplePoints, titleQueries } from './sample-points.ts';

const SHOWN_DIFFERENCES = 5;

/**
 * The gate before a cut-over: both versions agree point by point, no more points failed than may, and the results of the queries, asked
 * of both versions whole, are not worse than the bounds say. The counts are those of the moment; what is written meanwhile shows in
 * them. Errors: those of the ports.
 */
export async function verifyMigration(
  deps: MigrationDeps,
  { from, to, queries, bounds }: Migration & { to: NonNullable<Migration['to']> },
  signal: AbortSignal,
): Promise<MigrationGate> {
  const source = await deps.open(from.version);
  const target = await deps.open(to.version);
  const { compared, differences } = await compareVersions(deps, { source, target, targetVersion: to.version }, signal);
  const { failed } = await deps.ledger.countCopies(to.version);
  const asked =
    queries.length > 0
      ? queries
      : titleQueries(await samplePoints(source, deps.settings.samplePoints), deps.settings.sampleQueries);
  const quality = await compareQuality(asked, queries.length > 0 ? 'request' : 'titles', {
    before: rankingOf(source, (tenant, query) => deps.encodeQuery(from.spec, tenant, query)),
    after: rankingOf(target, (tenant, query) => deps.encodeQuery(to.spec, tenant, query)),
  });
  const reasons: string[] = [];
  if (differences.length > 0) {
    const shown = differences.slice(0, SHOWN_DIFFERENCES).map(({ assetId, detail }) => `${assetId} (${detail})`);
    reasons.push(`${differences.length} points differ between the versions: ${shown.join(', ')}`);
  }
  if (failed > bounds.max_failed_points)
    reasons.push(`${failed} points could not be brought over, ${bounds.max_failed_points} may be`);
  const { overlap_at_10: overlap, recall_at_10: recall } = quality;
  if (overlap !== null && overlap < bounds.min_overlap_at_10)
    reasons.push(`overlap@10 is ${overlap}, at least ${bounds.min_overlap_at_10} is asked for`);
  if (recall && recall.before - recall.after > bounds.max_recall_loss)
    reasons.push(`recall@10 falls from ${recall.before} to ${recall.after}, by more than ${bounds.max_recall_loss}`);
  deps.logger.info({ quality, reasons }, 'the gate was asked');
  return {
    passed: reasons.length === 0,
    reasons,
    checked_at: deps.now(),
    counts: { before: await countAll(source), after: await countAll(target) },
    compared_points: compared,
    differences: differences.length,
    failed_points: failed,
    quality,
  };
}

/** Points of all tenants. */
export async function countAll(index: VectorIndex): Promise<{ live: number; deleted: number }> {
  const total = { live: 0, deleted: 0 };
  for (const tenant of await index.tenants()) {
    const { live, deleted } = await index.count(tenant);
    total.live += live;
    total.deleted += deleted;
  }
  return total;
}
