/**
 * `npm run demo [-- --once]`: the embedded stack with the sample catalogue in it, three searches, then the search page until Ctrl-C.
 * With --once it ends after the searches. What an earlier run has indexed stays and is not encoded again.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startEmbedded } from '@sightline/embedded/embedded';
import { searchResponse, type SearchRequest } from '@sightline/shared/contracts/http';
import { runMain } from '@sightline/shared/runtime/run-main';
import { ApiClient } from './api-client.ts';
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

  const peak = memory.peak();
  memory.stop();
  console.log(
    `\n${secondsSince(startedAt)} s from the start${peak === null ? '' : `, at most ${Math.round(peak.totalBytes / 1e6)} MB of memory, PostgreSQL and the encoder included`}.`,
  );
  if (options.once) return end(0);
  console.log(`\nThe search page is at ${url}/ until Ctrl-C.`);
});

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
