import { newId } from '@sightline/shared/contracts/ids';
import { changePlace, type Change } from '@sightline/shared/contracts/changes';
import { sourceKey, sourcePlace } from '@sightline/shared/contracts/source-place';
import type { LeaseDeps } from '@sightline/shared/ingestion/key-lease';
import { KnownPlaces } from '@sightline/shared/ingestion/known-places';
import { notePushedPlaces, tenantsNaming } from '@sightline/shared/ingestion/pushed-places';
import type { Noticed } from './change-feed.ts';
import type { Ingestion, IngestionStatus, Ledger } from '@sightline/shared/ports/ledger';
import { reasonFor, toSightlineError } from '@sightline/shared/runtime/errors';
import type { Logger } from 'pino';

export interface NoticeDeps {
  ledger: Pick<
    Ledger,
    'latestIngestions' | 'noteChanges' | 'owedChanges' | 'createIngestion' | 'listIngestions' | 'getSetting' | 'putSetting'
  > &
    LeaseDeps['ledger'];
  /** Has a tenant's changes worked; what it does not reach, the sweep does. */
  drive: (tenant: string, count: number) => Promise<void>;
  logger: Logger;
  now: () => number;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Of all tenants together; above it nothing more is taken from the feed. */
  highWaterChanges: number;
}

const LOOK_AGAIN_MS = 500;
const ACTIVE: IngestionStatus[] = ['planning', 'running', 'paused'];

/**
 * Writes down as owed what a feed tells of, for each tenant whose sources it concerns; durable when it returns. A manifest that
 * changed is ingested again. What concerns no known source is of no interest: a source that is added later is listed whole.
 * While too much is owed it waits, and the feed keeps the rest. Errors: those of the ledger.
 */
export async function noticeChanges(deps: NoticeDeps, noticed: Noticed[], signal: AbortSignal): Promise<void> {
  await roomFor(deps, signal);
  const changes = new Map<string, Map<string, { change: Change; changedAt: number | null }>>();
  const note = (tenant: string, change: Change, changedAt: number | null): void => {
    const own = changes.get(tenant) ?? new Map<string, { change: Change; changedAt: number | null }>();
    changes.set(tenant, own);
    // The latest that was told of a place counts, of several in one batch.
    own.set(changePlace(change), { change, changedAt });
  };
  const tenantsOf = new Map<string, string[]>();
  const naming = async (bucket: string): Promise<string[]> => {
    const tenants = tenantsOf.get(bucket) ?? (await tenantsNaming(deps.ledger, bucket));
    tenantsOf.set(bucket, tenants);
    return tenants;
  };
  const manifests = new Map<string, Ingestion>();
  // Read anew each time: what was told of a source that began a moment ago must not be passed over.
  const sources = sourcesByTenant(await deps.ledger.latestIngestions(null));
  for (const one of noticed) {
    if (one.kind === 'item') {
      await notePushedPlaces(deps, one.tenant, one.change.record?.pictures ?? []);
      note(one.tenant, one.change, one.changedAt);
    } else {
      // Whether a pushed record names it is asked where it is worked.
      for (const tenant of await naming(one.bucket))
        for (const key of one.keys) note(tenant, { kind: 'object', bucket: one.bucket, key }, one.changedAt);
      for (const [tenant, { known, ingestions }] of sources) {
        for (const key of one.keys) {
          const object = { bucket: one.bucket, key };
          const standing = known.standingOf(object);
          if (standing === 'manifest')
            for (const own of manifestsAt(ingestions, object)) manifests.set(`${tenant} ${sourceKey(own.source)}`, own); // prettier-ignore
          else if (standing !== 'unknown') note(tenant, { kind: 'object', ...object }, one.changedAt);
        }
      }
    }
  }
  for (const manifest of manifests.values()) await ingestAgain(deps, manifest);
  for (const [tenant, own] of changes) {
    await deps.ledger.noteChanges(tenant, [...own.values()], deps.now());
    // They are owed: that nobody could be told now keeps them waiting for the sweep, no more.
    await deps.drive(tenant, own.size).catch((error: unknown) => {
      deps.logger.warn({ tenant, reason: reasonFor(toSightlineError(error)) }, 'changes wait for the sweep');
    });
  }
}

interface TenantSources {
  ingestions: Ingestion[];
  known: KnownPlaces;
}

function sourcesByTenant(latest: Ingestion[]): Map<string, TenantSources> {
  const byTenant = new Map<string, Ingestion[]>();
  for (const ingestion of latest) byTenant.set(ingestion.tenant, [...(byTenant.get(ingestion.tenant) ?? []), ingestion]);
  return new Map([...byTenant].map(([tenant, ingestions]) => [tenant, { ingestions, known: new KnownPlaces(ingestions) }]));
}

function manifestsAt(ingestions: Ingestion[], { bucket, key }: { bucket: string; key: string }): Ingestion[] {
  return ingestions.filter(({ source }) => {
    const place = sourcePlace(source);
    return place?.bucket === bucket && place.manifestKey === key;
  });
}

/** One that has not begun to read it will read what it is now. */
async function ingestAgain({ ledger, logger, now }: NoticeDeps, { tenant, source }: Ingestion): Promise<void> {
  const own = sourceKey(source);
  const active = await ledger.listIngestions(tenant, { statuses: ACTIVE, limit: 1_000 });
  const isWaiting = active.some(
    (one) => !one.dryRun && !one.planned && one.cursor === null && one.hold === null && sourceKey(one.source) === own,
  );
  if (isWaiting) return;
  const { ingestionId } = await ledger.createIngestion({ ingestionId: newId(), tenant, source, createdAt: now() });
  logger.info({ tenant, ingestionId }, 'a manifest changed and is ingested again');
}

async function roomFor({ ledger, now, sleep, highWaterChanges }: NoticeDeps, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const owed = (await ledger.owedChanges(now())).reduce((sum, one) => sum + one.owed, 0);
    if (owed < highWaterChanges) return;
    await sleep(LOOK_AGAIN_MS, signal);
  }
}
