/**
 * `npm run demo [-- --once]`: the embedded stack with the sample catalogue in it, three searches, three questions whose annotated pictures
 * are written to files, then the page until Ctrl-C. With --once it ends after the questions. What an earlier run has indexed stays and is
 * not encoded again.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startEmbedded } from '@sightline/embedded/embedded';
import { searchResponse, type SearchRequest } from '@sightline/shared/contracts/http';
import type { QuestionRequest, QuestionView } from '@sightline/shared/contracts/question-http';
import { dataFiles } from '@sightline/shared/runtime/open-engines';
import { runMain } from '@sightline/shared/runtime/run-main';
import { ApiClient } from './api-client.ts';
import { askAndFollow, printQuestion } from './ask.ts';
import { ingest, printSummary, sourceOf } from './ingest.ts';
import { watchMemory } from './process-tree.ts';
import { pictureOf, printAnswer } from './search.ts';
import { packPlaces, stackMain } from './up.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

const { values: options } = parseArgs({ options: { once: { type: 'boolean', default: false } } });
const startedAt = performance.now();
const memory = watchMemory(process.pid, 500);

await runMain(stackMain('demo'), async ({ config, logger, closer, end }) => {
  console.log('Starting Sightline ...');
  const { url } = await startEmbedded(config, { logger, closer, packPlaces });
  console.log(`Sightline is at ${url} (after ${secondsSince(startedAt)} s)\n`);
  const client = new ApiClient(url, process.env['SIGHTLINE_API_KEY']);

  console.log('Ingesting the sample catalogue');
  const ingestion = await ingest(client, await sourceOf(join(ROOT, 'sample', 'manifest.jsonl')));
  await printSummary(client, ingestion);
  if (ingestion.status !== 'completed') throw new Error('The sample catalogue was not ingested.');

  for (const { title, request } of await searches()) {
    console.log(`\n${title}`);
    printAnswer(await client.post('/v1/search', { ...request, explain: true }, searchResponse));
  }

  const answers = join(dataFiles(config.dataDir).root, 'answers');
  await mkdir(answers, { recursive: true });
  for (const { name, request } of questions()) {
    console.log(`\nQuestion${request.show_steps ? ', with steps' : ''}: "${request.question}"`);
    const question = await askAndFollow(client, request, { signal: new AbortController().signal, show: () => {} });
    printQuestion(question, client.url);
    for (const file of await savePictures(client, question, join(answers, name))) console.log(`  written to ${file}`);
  }
  if (!config.vlmBaseUrl)
    console.log(`\nThese answers are of the pack ${config.vlmPack}; VLM_BASE_URL names a larger model's server.`);

  const peak = memory.peak();
  memory.stop();
  console.log(
    `\n${secondsSince(startedAt)} s from the start${peak === null ? '' : `, at most ${Math.round(peak.totalBytes / 1e6)} MB of memory, PostgreSQL and the encoder included`}.`,
  );
  if (options.once) return end(0);
  console.log(`\nThe page is at ${url}/ until Ctrl-C.`);
});

/** A drawing's distances beside the record's price, a problem sheet, a region of an X-ray-like picture. */
function questions(): { name: string; request: QuestionRequest }[] {
  return [
    {
      name: 'cooler',
      request: {
        question: 'What does the Kestrel R26 cost, and how far apart are its LGA1851 holes?',
        filter: { kind: 'drawing' },
      },
    },
    { name: 'problem', request: { question: 'What is the sum in problem 480?', filter: { sku: 'PB-480-0' }, show_steps: true } },
    { name: 'xray', request: { question: 'Which vertebra is odd in radiograph R-2138?', filter: { kind: 'xray' }, k: 1 } },
  ];
}

/** The answer's pictures with their boxes drawn; answers the files. */
async function savePictures(client: ApiClient, { images }: QuestionView, path: string): Promise<string[]> {
  const files: string[] = [];
  for (const { n, href } of images) {
    const { bytes, type } = await client.picture(href);
    const file = `${path}-${n}.${type.split('/')[1] ?? 'bin'}`;
    await writeFile(file, bytes);
    files.push(file);
  }
  return files;
}

/** By words, by a picture that is not in the catalogue, by both: the apple on the picture is red. */
async function searches(): Promise<{ title: string; request: SearchRequest }[]> {
  const sailboat = 'sample/recall/images/sailboat.webp';
  const apple = 'sample/recall/images/red-apple.webp';
  return [
    { title: 'Search by words: "umbrella"', request: { query: 'umbrella' } },
    {
      title: `Search by a picture that is not in the catalogue: ${sailboat}`,
      request: { image: await pictureOf(join(ROOT, sailboat)) },
    },
    {
      title: `Search by a picture and words: ${apple} and "green"`,
      request: { image: await pictureOf(join(ROOT, apple)), query: 'green' },
    },
  ];
}

function secondsSince(time: number): string {
  return ((performance.now() - time) / 1000).toFixed(1);
}
