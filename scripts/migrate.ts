/**
 * `npm run migrate -- <pack> [--queries file.jsonl] [--preview] [--auto] ...`: has a running stack migrate its index to another encoder
 * pack, and shows how it goes. `npm run migrate -- cut-over | roll-back | ... <id>` steers one; without arguments all are listed.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import cliProgress from 'cli-progress';
import { migrationList, migrationRequest, migrationView, type MigrationView } from '@sightline/shared/contracts/migration-http';
import { migrationQuery } from '@sightline/shared/contracts/migrations';
import { clientFromEnvironment, type ApiClient } from './api-client.ts';
import { printable } from './printable.ts';
import { runCommand } from './run-command.ts';

const USAGE = `usage: npm run migrate -- <pack> [--preview] [--auto] [--queries <file.jsonl>]
                          [--min-overlap <0..1>] [--max-recall-loss <0..1>] [--max-failed <n>]
       npm run migrate -- follow | pause | resume | cut-over | roll-back | finish | cancel <migration id>
       npm run migrate                       lists migrations
  --preview          stops after the preview; resume goes on
  --auto             cuts over by itself once the gate is passed
  --queries          {"query": "...", "relevant": ["item or asset id"]} a line; titles of the catalogue when left out
  --min-overlap, --max-recall-loss, --max-failed   what the gate lets pass, also with resume`;
const ACTIONS = new Set(['follow', 'pause', 'resume', 'cut-over', 'roll-back', 'finish', 'cancel']);
const POLL_MS = 300;
const FAILURES_SHOWN = 10;
const MOVING = new Set<MigrationView['status']>([
  'waiting',
  'previewing',
  'filling',
  'verifying',
  'cutting_over',
  'rolling_back',
]);

const percent = (part: number | null): string => (part === null ? '-' : `${(part * 100).toFixed(1)} %`);

function isResting({ status, hold, cut_over: cutOver }: MigrationView): boolean {
  return hold !== null || (!MOVING.has(status) && !(status === 'ready' && cutOver === 'auto'));
}

/** Shows a migration until somebody has to decide, or it is over. */
async function follow(client: ApiClient, id: string, signal: AbortSignal): Promise<MigrationView> {
  const bar = new cliProgress.SingleBar({
    format: '  {bar} {percentage}% | {value}/{total} | {rate}/s | {left} | {failures}',
    barsize: 28,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    noTTYOutput: true,
    notTTYSchedule: 3_000,
    fps: 5,
  });
  const get = (): Promise<MigrationView> => client.get(`/v1/migrations/${encodeURIComponent(id)}`, migrationView);
  let view = await get();
  let said = '';
  let isDrawn = false;
  try {
    for (; ; view = await get()) {
      const { progress, status } = view;
      if (status === 'filling') {
        const labels = {
          rate: progress.points_per_second === null ? '-' : progress.points_per_second.toFixed(1),
          left: progress.eta_seconds === null ? status : `${progress.eta_seconds} s left`,
          failures: progress.failed === 0 ? 'no failures' : `${progress.failed} failed`,
        };
        if (!isDrawn) bar.start(Math.max(1, progress.points), progress.copied, labels);
        isDrawn = true;
        bar.setTotal(Math.max(1, progress.points));
        bar.update(progress.copied, labels);
      } else if (said !== status && !isResting(view)) {
        if (isDrawn) bar.stop();
        isDrawn = false;
        console.log(`  ${status}${view.reason ? `: ${printable(view.reason)}` : ''}`);
        said = status;
      }
      if (isResting(view)) return view;
      await sleep(POLL_MS, undefined, { signal });
    }
  } finally {
    if (isDrawn) bar.stop();
  }
}

function describe(view: MigrationView): void {
  const { migration_id: id, status, hold, preview, gate, progress } = view;
  console.log(`  migration ${id} to ${printable(view.pack)}: ${status}${hold ? `, held by the ${hold}` : ''}`);
  if (view.reason) console.log(`  ${printable(view.reason)}`);
  if (preview) {
    console.log(
      `  preview  ${preview.sampled_points} of ${preview.points} points; changes ${preview.changed_spaces.join(' and ')} vectors; about ` +
        `${preview.estimated_seconds ?? '-'} s with one worker, ${(preview.vector_bytes / 1e6).toFixed(1)} MB of vectors`,
    );
    console.log(`           ${qualityLine(preview.quality)}`);
  }
  if (progress.points > 0)
    console.log(`  points   ${progress.copied} of ${progress.points} copied, ${progress.owed} owed, ${progress.failed} failed`);
  for (const { asset_id: assetId, code, reason } of view.failures.slice(0, FAILURES_SHOWN))
    console.log(`           ${assetId}: ${printable(reason)} (${code})`);
  if (gate) {
    console.log(
      `  gate     ${gate.passed ? 'passed' : 'NOT passed'}: ${gate.compared_points} points compared, ${gate.differences} differ; ` +
        `${gate.counts.before.live} before, ${gate.counts.after.live} after`,
    );
    console.log(`           ${qualityLine(gate.quality)}`);
  }
  for (const next of nextSteps(view)) console.log(`  next     npm run migrate -- ${next} ${id}`);
}

function qualityLine({
  queries,
  queries_from: from,
  overlap_at_10: overlap,
  recall_at_10: recall,
}: NonNullable<MigrationView['gate']>['quality']): string {
  const labelled = recall ? `, recall@10 ${percent(recall.before)} -> ${percent(recall.after)}` : '';
  return `${queries} queries (${from}): overlap@10 ${percent(overlap)}${labelled}`;
}

function nextSteps({ status, hold }: MigrationView): string[] {
  if (hold !== null || status === 'previewed') return ['resume', 'cancel'];
  if (status === 'ready') return ['cut-over', 'cancel'];
  return status === 'serving' ? ['finish', 'roll-back'] : [];
}

async function readQueries(file: string): Promise<unknown[]> {
  const text = await readFile(resolve(process.env['INIT_CWD'] ?? process.cwd(), file), 'utf8');
  const line = migrationQuery.omit({ tenant: true }).extend({ tenant: migrationQuery.shape.tenant.optional() });
  return text.split('\n').flatMap((one) => (one.trim() === '' ? [] : line.parse(JSON.parse(one))));
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      queries: { type: 'string' },
      preview: { type: 'boolean', default: false },
      auto: { type: 'boolean', default: false },
      'min-overlap': { type: 'string' },
      'max-recall-loss': { type: 'string' },
      'max-failed': { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const [first, id, ...rest] = positionals;
  const isAction = first !== undefined && ACTIONS.has(first) && id !== undefined;
  if (values.help || rest.length > 0 || (id !== undefined && !isAction)) {
    console.error(USAGE);
    return 2;
  }
  const client = clientFromEnvironment();
  const show = (view: MigrationView): void => (values.json ? console.log(JSON.stringify(view, null, 2)) : describe(view));
  if (first === undefined) {
    const { migrations } = await client.get('/v1/migrations', migrationList);
    if (migrations.length === 0) console.log('  There was no migration yet.');
    for (const view of migrations) show(view);
    return 0;
  }
  const bounds = {
    ...(values['min-overlap'] === undefined ? {} : { min_overlap_at_10: Number(values['min-overlap']) }),
    ...(values['max-recall-loss'] === undefined ? {} : { max_recall_loss: Number(values['max-recall-loss']) }),
    ...(values['max-failed'] === undefined ? {} : { max_failed_points: Number(values['max-failed']) }),
  };
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  try {
    const migrationId = isAction ? id : await begin();
    if (isAction && first !== 'follow')
      await client.post(`/v1/migrations/${encodeURIComponent(id)}/${first}`, first === 'resume' ? { bounds } : {}, migrationView);
    const view = await follow(client, migrationId, stop.signal);
    show(view);
    const isBad = view.hold === 'gate' || view.status === 'failed';
    return isBad ? 1 : 0;
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    console.log(`\n  The migration goes on in the stack: ${client.url}/v1/migrations`);
    return 130;
  }

  async function begin(): Promise<string> {
    const request = migrationRequest.parse({
      pack: first,
      bounds,
      preview_only: values.preview,
      cut_over: values.auto ? 'auto' : 'manual',
      ...(values.queries === undefined ? {} : { queries: await readQueries(values.queries) }),
    });
    return (await client.post('/v1/migrations', request, migrationView)).migration_id;
  }
}

if (import.meta.main) await runCommand(main);
