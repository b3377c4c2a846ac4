/**
 * `npm run ingest -- <folder | manifest.jsonl | s3://bucket/prefix/ | s3://bucket/manifest.jsonl> [--strict] [--dry-run]`: has a
 * running stack ingest a source, and shows how it goes. `npm run ingest -- pause | resume | cancel | retry <id>` steers one.
 */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import cliProgress from 'cli-progress';
import {
  failurePage,
  ingestionAccepted,
  ingestionView,
  type FailurePage,
  type IngestionView,
} from '@sightline/shared/contracts/http';
import type { Source } from '@sightline/shared/contracts/records';
import { clientFromEnvironment, type ApiClient } from './api-client.ts';
import { printable } from './printable.ts';
import { runCommand } from './run-command.ts';

const USAGE = `usage: npm run ingest -- <folder | manifest.jsonl | s3://bucket/prefix/ | s3://bucket/manifest.jsonl> [--strict] [--dry-run]
       npm run ingest -- pause | cancel | retry <ingestion id>
       npm run ingest -- resume <ingestion id> [--accept-failures]`;
const CONTROLS = new Set(['pause', 'resume', 'cancel', 'retry']);
const POLL_MS = 300;
const FAILURES_SHOWN = 10;
const FINAL = new Set<IngestionView['status']>(['completed', 'failed', 'cancelled']);

/**
 * A folder is a directory source, a file a manifest; an s3 address is a manifest when it ends in .jsonl or .ndjson, else a prefix.
 * Paths are taken from where npm was called.
 */
export async function sourceOf(path: string): Promise<Source> {
  if (path.startsWith('s3://')) {
    if (/\.(jsonl|ndjson)$/.test(path)) return { type: 'manifest', uri: path };
    const [, bucket = '', prefix = ''] = /^s3:\/\/([^/]*)\/?(.*)$/s.exec(path) ?? [];
    return { type: 'prefix', bucket, prefix };
  }
  const absolute = resolve(process.env['INIT_CWD'] ?? process.cwd(), path);
  const found = await stat(absolute).catch(() => null);
  if (!found) throw new Error(`There is nothing at ${absolute}.`);
  return found.isDirectory() ? { type: 'directory', path: absolute } : { type: 'manifest', uri: absolute };
}

/** Starts an ingestion and follows it to its end with a progress bar; answers its last state. */
export async function ingest(
  client: ApiClient,
  source: Source,
  options: { signal?: AbortSignal; dryRun?: boolean } = {},
): Promise<IngestionView> {
  const body = { source, ...(options.dryRun && { dry_run: true }) };
  const { links } = await client.post('/v1/ingestions', body, ingestionAccepted);
  return follow(client, links.self, options);
}

/** Shows an ingestion to its end, or until somebody has to let it go on. */
async function follow(client: ApiClient, self: string, options: { signal?: AbortSignal } = {}): Promise<IngestionView> {
  const bar = new cliProgress.SingleBar({
    format: '  {bar} {percentage}% | {value}/{total} | {rate}/s | {left} | {failures}',
    barsize: 28,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    // Without a terminal a line now and then says the same.
    noTTYOutput: true,
    notTTYSchedule: 3_000,
    fps: 5,
  });
  let view = await client.get(self, ingestionView);
  bar.start(Math.max(1, view.counts.listed), doneOf(view), labelsOf(view));
  try {
    while (!FINAL.has(view.status) && view.hold === null) {
      await sleep(POLL_MS, undefined, options.signal ? { signal: options.signal } : {});
      view = await client.get(self, ingestionView);
      bar.setTotal(Math.max(1, view.counts.listed));
      bar.update(doneOf(view), labelsOf(view));
    }
  } finally {
    bar.stop();
  }
  return view;
}

/** What came of it, and what failed by reason. */
export async function printSummary(client: ApiClient, view: IngestionView): Promise<void> {
  const { counts } = view;
  const seconds = view.finished_at ? (Date.parse(view.finished_at) - Date.parse(view.created_at)) / 1000 : 0;
  const rate = view.images_per_second === null ? '' : `, ${view.images_per_second.toFixed(1)} a second`;
  console.log(`  ${view.status}${view.reason ? ` (${view.reason})` : ''} after ${seconds.toFixed(1)} s${rate}`);
  console.log(
    `  ${counts.listed} listed: ${counts.indexed} indexed, ${counts.unchanged} unchanged, ${counts.duplicate} duplicate, ${counts.failed} failed`,
  );
  if (view.estimate) {
    const { bytes, duplicates, seconds: wouldTake } = view.estimate;
    const copies = duplicates === null ? '' : `, ${duplicates} of them copies`;
    console.log(
      `  ${(bytes / 1e6).toFixed(1)} MB${copies}; ${wouldTake === null ? 'no rate is known yet' : `about ${wouldTake} s`}`,
    );
  }
  if (view.hold) console.log(`  let it go on with: npm run ingest -- resume ${view.ingestion_id}`);
  if (counts.failed === 0) return;
  const failures: FailurePage['failures'] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const page: FailurePage = await client.get(
      `${view.links.failures}?limit=1000${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`,
      failurePage,
    );
    failures.push(...page.failures);
    cursor = page.next_cursor;
  }
  const byCode = Map.groupBy(failures, (failure) => failure.code);
  console.log('  failures by reason:');
  for (const [code, all] of [...byCode].sort((a, b) => b[1].length - a[1].length))
    console.log(`    ${String(all.length).padStart(6)}  ${code}`);
  for (const { key, code, reason } of failures.slice(0, FAILURES_SHOWN))
    console.log(`    ${printable(key)}: ${printable(reason)} (${code})`);
  if (failures.length > FAILURES_SHOWN) console.log(`    ... all of them at ${client.url}${view.links.failures}`);
}

function doneOf({ counts }: IngestionView): number {
  return counts.indexed + counts.unchanged + counts.duplicate + counts.failed;
}

function labelsOf({ status, images_per_second: rate, eta_seconds: eta, counts }: IngestionView) {
  return {
    rate: rate === null ? '-' : rate.toFixed(1),
    left: status === 'planning' ? 'listing' : eta === null ? status : `${eta} s left`,
    failures: counts.failed === 0 ? 'no failures' : `${counts.failed} failed`,
  };
}

/** Says what it is then; a retry and a resume go on in the stack. */
async function control(client: ApiClient, what: string, id: string, acceptFailures: boolean): Promise<number> {
  const body = what === 'resume' ? { accept_failures: acceptFailures } : undefined;
  const view = await client.post(`/v1/ingestions/${encodeURIComponent(id)}/${what}`, body, ingestionView);
  console.log(`  ${view.ingestion_id} is ${view.status}${view.reason ? ` (${printable(view.reason)})` : ''}`);
  return 0;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      strict: { type: 'boolean', default: false },
      'dry-run': { type: 'boolean', default: false },
      'accept-failures': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const [path, id] = positionals;
  const isControl = positionals.length === 2 && path !== undefined && CONTROLS.has(path);
  if (values.help || !path || (positionals.length > 1 && !isControl)) {
    console.error(USAGE);
    return 2;
  }
  const client = clientFromEnvironment();
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  try {
    if (isControl) return await control(client, path, id ?? '', values['accept-failures']);
    const view = await ingest(client, await sourceOf(path), { signal: stop.signal, dryRun: values['dry-run'] });
    await printSummary(client, view);
    return view.status !== 'completed' || (values.strict && view.counts.failed > 0) ? 1 : 0;
  } catch (error) {
    if (stop.signal.aborted) {
      console.log(`\n  The ingestion goes on in the stack: ${client.url}/v1/ingestions`);
      return 130;
    }
    throw error;
  }
}

if (import.meta.main) await runCommand(main);
