import { FIRST_FINDINGS, MOST_LISTED, MOST_NAMED, type AuditFinding, type AuditResult } from '@sightline/shared/contracts/audits';
import { makeEvent } from '@sightline/shared/contracts/events';
import { auditFindingsKey, auditLockKey, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import type { JobData } from '@sightline/shared/contracts/jobs';
import { withFreeKey, type HeldLease } from '@sightline/shared/ingestion/key-lease';
import type { Audit } from '@sightline/shared/ports/audit-ledger';
import type { EventLog } from '@sightline/shared/ports/event-log';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { reasonFor, SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import type { Logger } from 'pino';
import { auditIndex, isClean, type AuditDeps, type AuditReport } from './audit.ts';
import type { Finding } from './compare-point.ts';
import { Repair } from './repair.ts';

export interface RunAuditDeps extends AuditDeps {
  ledger: Ledger;
  /** As writers see it: fenced. */
  index: VectorIndex;
  events: Pick<EventLog, 'publish'>;
  logger: Logger;
  now: () => number;
  /** How long a worker that died keeps others from its audit. */
  leaseTtlMs: number;
  /** Hears how each audit ended. */
  onEnd: (outcome: 'clean' | 'differs' | 'failed', seconds: number) => void;
}

/** Workers that die over one audit are enough. */
const MOST_DEATHS = 3;
/** Between two looks at whether it is wanted still. */
const WATCH_EVERY_MS = 1_000;
const PUBLISH_TRIES = 5;

/** The audit is over for this worker: it ended elsewhere, or went with its tenant. */
class AuditGone extends Error {}

/**
 * Carries out an audit: compares, writes the findings down, repairs where that was asked for, tells the end and ends it in the
 * ledger. One worker at a time does so; after a death the next begins it anew. It stops when it is gone from the ledger, as it is
 * when its tenant was deleted. What may pass is thrown while there are attempts left; else it fails with the reason.
 */
export async function runAudit(
  deps: RunAuditDeps,
  { tenant, auditId, traceId }: JobData<'audit'>,
  { lastAttempt, signal }: { lastAttempt: boolean; signal: AbortSignal },
): Promise<void> {
  if (!(await isWanted(deps, { tenant, auditId }))) return;
  await withFreeKey(deps, auditLockKey(auditId), { ttlMs: deps.leaseTtlMs }, async (lease) => {
    const audit = await deps.ledger.takeAudit(auditId);
    if (!audit) return;
    const startedAt = performance.now();
    const seconds = (): number => (performance.now() - startedAt) / 1_000;
    try {
      if (audit.attempts > MOST_DEATHS) throw new SightlineError('audit_kills_worker');
      const report = await watched(deps, audit, lease, signal, (watch) => carryOut(deps, audit, lease, watch, traceId));
      deps.onEnd(isClean(report) ? 'clean' : 'differs', seconds());
    } catch (thrown) {
      if (thrown instanceof AuditGone) return;
      if (signal.aborted) {
        await deps.ledger.giveBackAudit(auditId);
        throw thrown;
      }
      const error = toSightlineError(thrown);
      if (error.code === 'lease_lost') throw error;
      if (error.retryable && !lastAttempt) {
        await deps.ledger.giveBackAudit(auditId);
        throw error;
      }
      deps.logger.error({ err: error, tenant, auditId, traceId }, 'audit failed');
      await fail(deps, audit, reasonFor(error), traceId);
      deps.onEnd('failed', seconds());
    }
  });
}

async function isWanted({ ledger }: RunAuditDeps, { tenant, auditId }: { tenant: string; auditId: string }): Promise<boolean> {
  const audit = await ledger.getAudit(tenant, auditId);
  return audit !== null && audit.finishedAt === null;
}

/** Works under a signal that also fires when the audit is gone, or another may have it. */
async function watched<T>(
  deps: RunAuditDeps,
  audit: Audit,
  lease: HeldLease,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const gone = new AbortController();
  const done = new AbortController();
  const watching = (async () => {
    for (;;) {
      await deps.sleep(WATCH_EVERY_MS, done.signal).catch(() => {});
      if (done.signal.aborted) return;
      try {
        lease.assertHeld();
      } catch (error) {
        return gone.abort(error);
      }
      // A ledger that does not answer is asked again.
      if (!(await isWanted(deps, audit).catch(() => true))) return gone.abort(new AuditGone());
    }
  })();
  try {
    return await work(AbortSignal.any([signal, gone.signal]));
  } finally {
    done.abort();
    await watching;
  }
}

async function carryOut(
  deps: RunAuditDeps,
  audit: Audit,
  lease: HeldLease,
  signal: AbortSignal,
  traceId: string,
): Promise<AuditReport> {
  const { tenant, auditId, place, graceMs } = audit;
  const repair = audit.repair ? new Repair(deps, tenant) : null;
  const first: AuditFinding[] = [];
  let listed = 0;
  const looks = auditIndex(deps, tenant, { place, graceMs, signal });
  let next = await looks.next();
  const lines = async function* (): AsyncGenerator<Buffer> {
    for (; !next.done; next = await looks.next()) {
      signal.throwIfAborted();
      await repair?.take(next.value);
      const finding = toFinding(next.value);
      if (first.length < FIRST_FINDINGS) first.push(finding);
      if (listed >= MOST_LISTED) continue;
      listed += 1;
      yield Buffer.from(`${JSON.stringify(finding)}\n`);
    }
  };
  const ref = { bucket: SYSTEM_BUCKET, key: auditFindingsKey(tenant, auditId) };
  if (!next.done) await deps.store.putStream(ref, lines(), { contentType: 'application/x-ndjson', signal });
  // The body is read to its end by then.
  if (!next.done) throw new SightlineError('internal', 'Findings were left unread.');
  const report = next.value;
  const stop = async (): Promise<never> => {
    await deps.store.delete(ref);
    throw new AuditGone();
  };
  lease.assertHeld();
  if (!(await isWanted(deps, audit))) return stop();
  const repaired = repair && !isClean(report) ? await repair.finish() : null;
  const result: AuditResult = {
    clean: isClean(report),
    points: report.points,
    agreed: report.agreed,
    findings: report.findings,
    healed: report.healed,
    listed,
    first,
    unreadable: report.unreadable.slice(0, MOST_NAMED),
    running: report.running.slice(0, MOST_NAMED),
    repair: repaired && {
      deleted: repair?.deleted ?? 0,
      changes: repaired.changes,
      ingestions: repaired.ingestions.map(({ ingestionId }) => ingestionId).slice(0, MOST_NAMED),
    },
  };
  const at = deps.now();
  // Before it is said that it is over: a death between the two tells it again.
  await publish(deps, audit, { result, reason: null, at, traceId }, signal);
  lease.assertHeld();
  if (!(await deps.ledger.endAudit(auditId, { status: 'completed', result, at }))) return stop();
  return report;
}

function toFinding({ kind, assetId, bucket, key, detail }: Finding): AuditFinding {
  return { kind, asset_id: assetId, bucket, key, detail };
}

async function fail(deps: RunAuditDeps, audit: Audit, reason: string, traceId: string): Promise<void> {
  const at = deps.now();
  if (!(await deps.ledger.endAudit(audit.auditId, { status: 'failed', reason, at }))) return;
  const telling = publish(deps, audit, { result: null, reason, at, traceId }, AbortSignal.timeout(60_000));
  await telling.catch((error: unknown) => {
    deps.logger.warn({ err: error, auditId: audit.auditId }, 'the end of an audit was not published');
  });
}

/** Tries some times itself: to begin the whole audit again for a log that is away would cost more. */
async function publish(
  { events, sleep }: RunAuditDeps,
  { tenant, auditId, place, createdAt }: Audit,
  { result, reason, at, traceId }: { result: AuditResult | null; reason: string | null; at: number; traceId: string },
  signal: AbortSignal,
): Promise<void> {
  const event = makeEvent('audit.completed', {
    service: 'ingest-worker',
    tenant,
    subject: auditId,
    version: [result ? 'completed' : 'failed'],
    traceId,
    at,
    data: {
      audit_id: auditId,
      status: result ? 'completed' : 'failed',
      reason,
      place,
      clean: result?.clean ?? null,
      points: result?.points ?? null,
      findings: result?.findings ?? null,
      repaired: (result?.repair ?? null) !== null,
      created_at: new Date(createdAt).toISOString(),
    },
  });
  for (let tries = 1; ; tries++) {
    try {
      return await events.publish([event]);
    } catch (error) {
      if (tries === PUBLISH_TRIES) throw error;
      await sleep(1_000 * 2 ** tries, signal);
    }
  }
}
