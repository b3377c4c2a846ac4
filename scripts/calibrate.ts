/**
 * `npm run calibrate [-- --set labels.jsonl ...]`: fits relevance_score and no_match to this collection, with its stack running or not.
 * Without labels, queries are made from the collection itself. DATA_DIR and ENCODER_PACK as for the stack.
 */
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import cliProgress from 'cli-progress';
import { pino } from 'pino';
import { openOnnxEncoder } from '@sightline/encode-worker/adapters/onnx-encoder';
import { findPack } from '@sightline/shared/adapters/find-pack';
import { encodeQuery } from '@sightline/encode-worker/core/encode-query';
import type { Encoder } from '@sightline/encode-worker/core/encoder';
import { Backgrounds } from '@sightline/shared/search/backgrounds';
import { calibrationOf, judge } from '@sightline/query-api/core/calibrate';
import type { CandidateDeps } from '@sightline/shared/search/find-candidates';
import { RecordKeywords } from '@sightline/shared/search/record-keywords';
import { DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import { JOBS } from '@sightline/shared/contracts/jobs';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { calibrationSetting } from '@sightline/shared/retrieval/relevance';
import { Closer } from '@sightline/shared/runtime/lifecycle';
import { commandEngines } from './command-engines.ts';
import { fromCollection, fromLabels, readLabels } from './labelled-queries.ts';
import { runCommand } from './run-command.ts';

const USAGE = `usage: npm run calibrate [-- options]
  --set <file>    labels (JSON Lines, repeatable): {"query" | "image", "relevant": [item ids]}; without "relevant" nothing answers it
  --tenant <t>    whose collection (default)
  --limit <n>     queries of each kind, presence and split (300)
  --write <file>  also write the calibration there, such as a pack's calibration.json
  --dry-run       report only, change nothing`;

/** A query's vectors straight from the encoder, by the encode worker's own step. */
function encoding(encoder: Encoder): CandidateDeps['encodeQuery'] {
  return async ({ tenant, words, picture, traceId }) => {
    const bytes = picture === null ? null : Buffer.from(picture.slice(picture.indexOf(',') + 1), 'base64');
    const store = {
      get: async (ref: { bucket: string; key: string }) => {
        const held = bytes ?? Buffer.alloc(0);
        return { info: { ...ref, eTag: '', sizeBytes: held.length, modifiedAt: new Date(0) }, bytes: held };
      },
    };
    const { image, text } = encoder.spec;
    const job = JOBS['encode-query'].schema.parse({
      tenant,
      fingerprints: { image: image.fingerprint, text: text.fingerprint },
      ...(words === null ? {} : { query: words }),
      ...(bytes ? { pictureKey: 'calibrate' } : {}),
      traceId,
      expiresAt: Number.MAX_SAFE_INTEGER,
    });
    return encodeQuery({ store, encoder, now: Date.now, maxPictureBytes: 64 * 1024 * 1024 }, job, new AbortController().signal);
  };
}

function candidateDeps(index: VectorIndex, encoder: Encoder): CandidateDeps {
  const backgrounds = new Backgrounds(index, Date.now);
  return {
    index,
    encodeQuery: encoding(encoder),
    logitScale: () => encoder.logitScale,
    recordKeywords: new RecordKeywords(),
    background: (tenant, space) => backgrounds.sample(tenant, space),
    nowMs: () => performance.now(),
  };
}

const percent = (rate: number | null) => (rate === null ? '-' : `${(rate * 100).toFixed(1)} %`);

async function calibrate(closer: Closer): Promise<number> {
  const { values } = parseArgs({
    options: {
      set: { type: 'string', multiple: true, default: [] },
      tenant: { type: 'string', default: DEFAULT_TENANT },
      limit: { type: 'string', default: '300' },
      write: { type: 'string' },
      'dry-run': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const limit = Number(values.limit);
  const { tenant } = values;
  if (values.help || !Number.isInteger(limit) || limit < 1) {
    console.error(USAGE);
    return 2;
  }
  const engines = commandEngines(closer);
  const { files } = engines;
  const models = fileURLToPath(new URL('../models', import.meta.url));
  const packDir = await findPack(process.env['ENCODER_PACK'] || 'starter', [files.packs, models]);
  const encoder = await openOnnxEncoder({
    packDir,
    packPlaces: [files.packs, models],
    threads: availableParallelism(),
    logger: pino({ level: 'silent' }),
  });
  closer.push('encoder', () => encoder.close());
  const index = await engines.index(encoder.spec);
  const ledger = await engines.ledger();
  const { live } = await index.count(tenant);
  if (live === 0) throw new Error('The index is empty: ingest a catalogue first.');

  const lines = (await Promise.all(values.set.map(readLabels))).flat();
  const store = await engines.store();
  const queries = lines.length > 0 ? await fromLabels(lines, limit) : await fromCollection(index, store, { tenant, limit });
  console.log(
    `${queries.length} queries over ${live} assets, from ${lines.length > 0 ? values.set.join(', ') : 'the collection itself'}`,
  );
  const bar = new cliProgress.SingleBar({ format: '  {bar} {value}/{total}', hideCursor: true });
  bar.start(queries.length, 0);
  const judged = await judge(candidateDeps(index, encoder), tenant, queries, (count) => bar.update(count)).finally(() =>
    bar.stop(),
  );

  const labels = lines.length > 0 ? values.set.map((file) => file.split('/').at(-1)).join(' + ') : 'made from the collection';
  const { calibration, unfitted } = calibrationOf(judged, { spec: encoder.spec, assets: live, fittedAt: new Date(), labels });
  console.log('  held out:    present  absent  said to match though absent  said to be absent though present  threshold');
  for (const [kind, rates] of Object.entries(calibration.held_out)) {
    const { threshold } = calibration.kinds[kind as keyof typeof calibration.kinds];
    console.log(
      `  ${kind.padEnd(11)} ${String(rates.present).padStart(8)} ${String(rates.absent).padStart(7)} ${percent(rates.false_positive_rate).padStart(28)} ${percent(rates.false_negative_rate).padStart(33)} ${threshold.toFixed(3).padStart(10)}`,
    );
  }
  if (unfitted.length > 0)
    console.log(`  not fitted, for want of absent queries with any result: ${unfitted.join(', ')}; the built-in guess stays`);
  if (values['dry-run']) return 0;
  const text = JSON.stringify(calibration, null, 2);
  await ledger.putSetting(calibrationSetting(calibration.fingerprints, tenant), text);
  console.log('  in force for this collection within ten seconds');
  if (values.write) {
    const file = resolve(process.env['INIT_CWD'] ?? process.cwd(), values.write);
    // Lists of numbers on one line each, as the formatter has them.
    const compact = text.replaceAll(/\[\s+([^[\]{}]*?)\s+\]/g, (_, list: string) => `[${list.split(/,\s+/).join(', ')}]`);
    await writeFile(file, `${compact}\n`);
    console.log(`  written to ${file}`);
  }
  return 0;
}

if (import.meta.main) {
  const closer = new Closer(pino({ level: 'warn' }));
  await runCommand(() => calibrate(closer));
  await closer.closeAll(10_000);
}
