import type { Migration } from '@sightline/shared/contracts/migrations';
import { changeMigration } from '@sightline/shared/migration/change-migration';
import type { HeldLease } from '@sightline/shared/ingestion/key-lease';
import type { MigrationDeps } from './migration-deps.ts';

const BUSY_STEP_MS = 50;
const LIVE_STEP_MS = 500;

/**
 * Owes the new version every point of the old one, in the order of tenants and ids, from the migration's cursor on, a little ahead of
 * the copying. Who comes after a worker that died goes on from its cursor. Waits below live work. Ends when all was looked at and
 * copied, or the migration is no longer being filled.
 */
export async function fillVersion(
  deps: MigrationDeps,
  migration: Migration,
  lease: HeldLease,
  signal: AbortSignal,
): Promise<void> {
  const { ledger, settings } = deps;
  const target = migration.to?.version;
  if (target === undefined) return;
  const source = await deps.open(migration.from.version);
  let trickledAt = 0;
  let now: Migration | null = migration;
  while (now && now.hold === null) {
    signal.throwIfAborted();
    lease.assertHeld();
    const { owed } = await ledger.countCopies(target);
    if (owed > settings.fillAhead) {
      await deps.sleep(BUSY_STEP_MS, signal);
      now = await reread(deps, now);
      continue;
    }
    if (now.fill.endedAt !== null) {
      // With live writes it is never owed nothing: the comparison sees to what is left.
      if (owed <= settings.batchPoints) {
        await changeMigration(ledger, now.migrationId, ['filling'], () => ({ status: 'verifying' }));
        return;
      }
      await deps.sleep(BUSY_STEP_MS, signal);
      now = await reread(deps, now);
      continue;
    }
    if ((await deps.liveWork()) > settings.mostLiveWork && deps.now() - trickledAt < settings.trickleEveryMs) {
      await deps.sleep(LIVE_STEP_MS, signal);
      now = await reread(deps, now);
      continue;
    }
    trickledAt = deps.now();
    const page = await nextPage(source, now.fill.cursor, settings.pagePoints);
    if (page.length > 0) await ledger.oweCopies(target, page, deps.now());
    const last = page.at(-1);
    now = await changeMigration(ledger, now.migrationId, ['filling'], ({ fill }) => ({
      fill: last
        ? { ...fill, cursor: last, scanned: fill.scanned + page.length }
        : { ...fill, total: Math.max(fill.total, fill.scanned), endedAt: deps.now() },
    }));
  }
}

async function reread({ ledger }: MigrationDeps, { migrationId }: Migration): Promise<Migration | null> {
  const now = await ledger.getMigration(migrationId);
  return now?.status === 'filling' ? now : null;
}

type Place = NonNullable<Migration['fill']['cursor']>;

async function nextPage(
  source: Awaited<ReturnType<MigrationDeps['open']>>,
  cursor: Place | null,
  limit: number,
): Promise<Place[]> {
  for (const tenant of await source.tenants()) {
    if (cursor && tenant < cursor.tenant) continue;
    const after = cursor?.tenant === tenant ? { after: cursor.assetId } : {};
    const points = await source.scan(tenant, { ...after, limit });
    if (points.length > 0) return points.map(({ assetId }) => ({ tenant, assetId }));
  }
  return [];
}
