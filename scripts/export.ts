/**
 * `npm run export -- --format llava --out <folder>`: reviewed answers of a running stack as a set that a model can be trained on.
 * docs/fine-tuning.md has the form.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import cliProgress from 'cli-progress';
import { llavaExample, type LlavaExample } from '@sightline/generate-worker/core/training/llava-example';
import { feedbackList, type ReviewedQuestionView } from '@sightline/shared/contracts/feedback-http';
import { ApiClient, clientFromEnvironment } from './api-client.ts';
import { PictureReader, type ReadPicture } from './export-pictures.ts';
import { LlavaSetWriter, type SetCounts, type SetExample } from './llava-set.ts';
import { Patience } from './patience.ts';
import { runCommand } from './run-command.ts';

const USAGE = `usage: npm run export -- --format llava --out <folder> [options]
  --url <address>    of the stack (SIGHTLINE_URL), with the key in SIGHTLINE_API_KEY
  --since <time>     what was reviewed from then on, such as 2026-11-01T00:00:00Z
  --split <share>    how much of it is for testing (0.1)
  --plain            the question over the one picture that the answer rests on, instead of the pipeline's prompt`;

interface ExportOptions {
  out: string;
  since?: string | undefined;
  split: number;
  plain: boolean;
  signal: AbortSignal;
  progress: (done: number, total: number) => void;
}

/** Why a reviewed answer is not in the set, by its question. */
type LeftOut = Map<string, string>;

/** Reads, makes and writes; whatever ends it early leaves nothing at `out`. */
async function exportLlava(client: ApiClient, options: ExportOptions): Promise<{ counts: SetCounts; leftOut: LeftOut }> {
  const writer = await LlavaSetWriter.open(options.out);
  try {
    const leftOut: LeftOut = new Map();
    // An export is more than a key may ask for in a minute: it goes on when it may.
    const patience = new Patience(options.signal);
    const pictures = new PictureReader(client, writer, patience);
    const [sides, frames] = [new Set<number>(), new Set<string>()];
    let [done, total, cursor] = [0, 0, ''];
    do {
      const query = new URLSearchParams({ ...(options.since && { since: options.since }), ...(cursor && { cursor }) });
      const path = `/v1/feedback?${query.toString()}`;
      const page = await patience.ask((signal) => client.get(path, feedbackList, { signal }));
      total = page.total ?? total;
      for (const reviewed of page.reviewed) {
        options.signal.throwIfAborted();
        const made = await setExample(reviewed, options.plain, pictures);
        const { question_id: id } = reviewed.question;
        if (typeof made === 'string') {
          leftOut.set(id, made);
          writer.leaveOut(id);
        } else {
          leftOut.delete(id);
          await writer.addExample(made);
          frames.add(made.boxFrame);
          if (reviewed.prompt) sides.add(reviewed.prompt.image_side_px);
        }
        options.progress(++done, Math.max(total, done));
      }
      cursor = page.next_cursor ?? '';
    } while (cursor !== '');
    options.signal.throwIfAborted();
    const about = {
      format: 'llava',
      prompt: options.plain ? 'plain' : 'pipeline',
      since: options.since ?? null,
      image_side_px: [...sides],
      box_frame: [...frames],
      left_out: countsOf(leftOut),
    };
    return { counts: await writer.finish(options.split, about), leftOut };
  } catch (error) {
    await writer.discard();
    throw error;
  }
}

/** How many for each reason, the most first. */
function countsOf(leftOut: LeftOut): Record<string, number> {
  const groups = Map.groupBy(leftOut.values(), (reason) => reason);
  return Object.fromEntries([...groups].map(([reason, all]) => [reason, all.length] as const).sort((a, b) => b[1] - a[1]));
}

async function setExample(reviewed: ReviewedQuestionView, plain: boolean, pictures: PictureReader): Promise<SetExample | string> {
  const made = llavaExample(reviewed, { plain });
  if ('leftOut' in made) return made.leftOut;
  const read = new Map<number, ReadPicture>();
  for (const picture of made.pictures) {
    const found = await pictures.read(picture, reviewed.prompt?.image_side_px ?? 0);
    if (typeof found === 'string') return found;
    read.set(picture.n, found);
  }
  const hashes = made.restsOn.pictures.flatMap((n) => read.get(n)?.sha256 ?? []);
  const { id, system, human, gpt, boxFrame } = made;
  return {
    id,
    system,
    human,
    gpt,
    boxFrame,
    images: made.pictures.flatMap(({ n }) => read.get(n)?.file ?? []),
    groupKeys: [...made.restsOn.items.map((item) => `item:${item}`), ...hashes.map((hash) => `picture:${hash}`)],
    sameAs: JSON.stringify([hashes.sort(), folded(reviewed.question.question)]),
    provenance: provenanceOf(reviewed, made, read),
  };
}

function provenanceOf(
  { question, prompt, adapter, reviews }: ReviewedQuestionView,
  { pictures, restsOn, corrected, review }: LlavaExample,
  read: ReadonlyMap<number, ReadPicture>,
) {
  const assets = new Map(prompt?.sources.map(({ n, asset_id: assetId }) => [n, assetId]));
  return {
    question_id: question.question_id,
    verdict: corrected ? 'wrong' : 'right',
    corrected,
    reviewer: review.reviewer,
    reviewers: reviews.map(({ reviewer }) => reviewer),
    reviewed_at: review.reviewedAt,
    asked_at: question.created_at,
    answered_at: question.finished_at,
    prompt_version: question.prompt_version,
    model: question.model,
    adapter,
    items: restsOn.items,
    images: pictures.map(({ n, source, object }) => ({ ...read.get(n), asset_id: assets.get(source) ?? null, ...object })),
  };
}

/** One spelling of one question. */
function folded(question: string): string {
  return question
    .normalize('NFKC')
    .toLowerCase()
    .replaceAll(/[\s\p{P}]+/gu, ' ')
    .trim();
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      format: { type: 'string', default: 'llava' },
      out: { type: 'string' },
      url: { type: 'string' },
      since: { type: 'string' },
      split: { type: 'string', default: '0.1' },
      plain: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const split = Number(values.split);
  if (values.help || !values.out || values.format !== 'llava' || !(split >= 0 && split < 1)) {
    console.error(USAGE);
    return 2;
  }
  const out = resolve(process.env['INIT_CWD'] ?? process.cwd(), values.out);
  const client = values.url ? new ApiClient(values.url, process.env['SIGHTLINE_API_KEY']) : clientFromEnvironment();
  const stop = new AbortController();
  // Not once: who presses Ctrl-C again while it tidies up would leave half a set beside `out`.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => stop.abort(new Error('Stopped; nothing was written.')));
  const bar = new cliProgress.SingleBar({
    format: '  {bar} {value}/{total}  {rate} answers/s  {eta_formatted} left',
    clearOnComplete: true,
  });
  const startedMs = performance.now();
  bar.start(1, 0, { rate: '-' });
  const progress = (done: number, total: number): void => {
    bar.setTotal(total);
    bar.update(done, { rate: ((done / (performance.now() - startedMs)) * 1_000).toFixed(1) });
  };
  const { since, plain } = values;
  const exporting = exportLlava(client, { out, since, split, plain, signal: stop.signal, progress });
  const { counts, leftOut } = await exporting.finally(() => bar.stop());
  console.log(`  ${out}: ${counts.train} to train on, ${counts.test} to test with, ${counts.images} pictures`);
  if (counts.duplicates > 0) console.log(`  ${counts.duplicates} said again what a later one says`);
  for (const [reason, count] of Object.entries(countsOf(leftOut))) console.log(`  ${count} left out: ${reason}`);
  if (counts.test === 0 && split > 0 && counts.train > 0)
    console.log('  No group of items falls into the share for testing: review more items, or raise --split.');
  return counts.train + counts.test > 0 ? 0 : 1;
}

if (import.meta.main) await runCommand(main);
