import { FINDING_KINDS } from '@sightline/shared/contracts/audits';
import type { AuditStanding } from '@sightline/shared/ports/audit-ledger';
import type { Ledger } from '@sightline/shared/ports/ledger';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

const STANDINGS_KEPT_MS = 5_000;

/**
 * What audits find. The gauges are read from the ledger, so that they are the same on every worker and outlive them: findings of each
 * tenant's newest audit, added up, and when the tenant that has been without a clean one for longest had its last (0: never).
 */
export function openAuditMetrics(
  registry: Registry,
  ledger: Pick<Ledger, 'auditStandings'>,
): { onEnd: (outcome: 'clean' | 'differs' | 'failed', seconds: number) => void } {
  const registers = [registry];
  let known: { standings: Promise<AuditStanding[] | null>; at: number } | null = null;
  const standings = (): Promise<AuditStanding[] | null> => {
    if (!known || performance.now() - known.at > STANDINGS_KEPT_MS)
      // A ledger that does not answer leaves the values out.
      known = { standings: ledger.auditStandings().catch(() => null), at: performance.now() };
    return known.standings;
  };
  const findings = new Gauge({
    name: 'sightline_audit_findings',
    help: "Differences between sources and index, by the newest audit of each tenant's everything.",
    labelNames: ['kind'],
    registers,
    collect: async () => {
      findings.reset();
      for (const { latest } of (await standings()) ?? [])
        for (const kind of FINDING_KINDS) findings.inc({ kind }, latest?.result?.findings[kind] ?? 0);
    },
  });
  const clean = new Gauge({
    name: 'sightline_audit_last_clean_timestamp_seconds',
    help: 'When the last clean audit ended, of the tenant that has gone without one for longest; 0 when it never had one.',
    registers,
    collect: async () => {
      clean.reset();
      const all = await standings();
      if (all && all.length > 0) clean.set(Math.min(...all.map(({ lastCleanAt }) => lastCleanAt ?? 0)) / 1_000);
      // A gauge without labels would show a 0 that means something else.
      else clean.remove();
    },
  });
  const ended = new Counter({
    name: 'sightline_audits_total',
    help: 'Audits that ended here.',
    labelNames: ['outcome'],
    registers,
  });
  const duration = new Histogram({
    name: 'sightline_audit_duration_seconds',
    help: 'From taking an audit to its end, the grace included.',
    buckets: [1, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400],
    registers,
  });
  return {
    onEnd: (outcome, seconds) => {
      ended.inc({ outcome });
      duration.observe(seconds);
    },
  };
}
