/**
 * `npm run audit [-- --json] [--repair] [--grace <seconds>]`: compares what the sources hold with what the index holds, point by point,
 * on the stores themselves. With --grace what differs is looked at again so much later, and reported when it differs still. Exit code
 * 0 when they agree, 1 when they do not, 2 when it could not be found out. Runs beside the stack or without it.
 */
import { parseArgs } from 'node:util';
import { openSqliteDoubts } from '@sightline/ingest-worker/adapters/sqlite-doubts';
import { openSqliteExpectedSet } from '@sightline/ingest-worker/adapters/sqlite-expected-set';
import { openSqliteItemLines } from '@sightline/ingest-worker/adapters/sqlite-item-lines';
import { auditIndex, isClean, type AuditReport } from '@sightline/ingest-worker/core/audit';
import type { Finding } from '@sightline/ingest-worker/core/compare-point';
import { Repair } from '@sightline/ingest-worker/core/repair';
import { Closer } from '@sightline/shared/runtime/lifecycle';
import { sleep } from '@sightline/shared/runtime/sleep';
import { commandEngines, commandLogger } from './command-engines.ts';
import { printable } from './printable.ts';

const SHOWN_FINDINGS = 20;
const KEPT_FINDINGS = 10_000;

const { values: flags } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    repair: { type: 'boolean', default: false },
    grace: { type: 'string', default: '0' },
  },
});
const graceMs = Number(flags.grace) * 1_000;
const say = (line: string): void => {
  if (!flags.json) console.log(line);
};

interface Outcome extends AuditReport {
  /** The first ten thousand. */
  list: Finding[];
  repaired?: { deleted: number; changes: number; ingestions: string[] };
}

async function audit(closer: Closer): Promise<Outcome[]> {
  const engines = commandEngines(closer);
  if (!engines.hasLedger())
    throw new Error(`Nothing was ingested yet: there is no ${engines.files.ledger}. Name the stack's DATA_DIR.`);
  const store = await engines.store();
  const ledger = await engines.ledger();
  const index = await engines.index();

  const outcomes: Outcome[] = [];
  for (const tenant of new Set((await ledger.latestIngestions(null)).map((ingestion) => ingestion.tenant))) {
    const repair = flags.repair ? new Repair({ ledger, index, store, now: Date.now, sleep }, tenant) : null;
    const list: Finding[] = [];
    const deps = {
      store,
      ledger,
      index,
      sleep,
      openItemLines: openSqliteItemLines,
      openExpectedSet: openSqliteExpectedSet,
      openDoubts: openSqliteDoubts,
    };
    const looks = auditIndex(deps, tenant, { place: null, graceMs });
    let next = await looks.next();
    for (; !next.done; next = await looks.next()) {
      if (list.length < KEPT_FINDINGS) list.push(next.value);
      await repair?.take(next.value);
    }
    const outcome: Outcome = { ...next.value, list };
    if (repair && !isClean(outcome)) {
      const { ingestions, changes } = await repair.finish();
      outcome.repaired = { deleted: repair.deleted, changes, ingestions: ingestions.map(({ ingestionId }) => ingestionId) };
    }
    outcomes.push(outcome);
    describe(outcome);
  }
  return outcomes;
}

function describe({ tenant, points, agreed, findings, healed, unreadable, running, list, repaired }: Outcome): void {
  say(`tenant ${tenant}: ${points} points`);
  say(`  agree    ${agreed.indexed} indexed, ${agreed.failed} failed with a code, ${agreed.removed} removed by a user`);
  say(`  differ   ${Object.entries(findings).map(([kind, count]) => `${count} ${kind}`).join(', ')}`); // prettier-ignore
  if (healed > 0) say(`  in time  ${healed} differed at the first look and agreed after the grace`);
  for (const { source, code } of unreadable) say(`  cannot be read: ${printable(source)} (${code})`);
  for (const ingestionId of running) say(`  still running: ingestion ${ingestionId}; what it owes counts as missing`);
  for (const { kind, key, detail } of list.slice(0, SHOWN_FINDINGS))
    say(`  ${kind.padEnd(9)} ${printable(key)}: ${printable(detail)}`);
  if (list.length > SHOWN_FINDINGS) say(`  ... and more: --json lists them`);
  if (repaired) {
    const { deleted, changes, ingestions } = repaired;
    say(
      `  repair   ${deleted} points taken off, ${changes} objects to be looked at anew, ${ingestions.length} sources to be ingested anew`,
    );
    if (changes + ingestions.length > 0)
      say('           a running stack does it now, else the next start does; then audit again');
  }
}

if (!(graceMs >= 0 && graceMs <= 3_600_000)) {
  console.error('--grace: seconds, from 0 to 3600');
  process.exit(2);
}
const closer = new Closer(commandLogger);
try {
  const outcomes = await audit(closer);
  if (flags.json) {
    const tenants = outcomes.map(({ list, ...report }) => ({ ...report, clean: isClean(report), list }));
    console.log(JSON.stringify({ clean: outcomes.every(isClean), tenants }, null, 2));
  } else if (outcomes.length === 0) say('Nothing was ingested yet.');
  else say(outcomes.every(isClean) ? 'Sources and index agree.' : 'Sources and index differ.');
  process.exitCode = outcomes.every(isClean) ? 0 : 1;
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
} finally {
  await closer.closeAll(10_000);
}
