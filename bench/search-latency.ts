/**
 * `npm run bench:search [-- --searches 200] [--bulk 20000] [--pack <dir or name>] [--manifest <file>]`: p50 and p99 of searches by words
 * over the sample (or another manifest), first with nothing else running, then while a bulk ingestion encodes `--bulk` pictures. One
 * search at a time: the figure is latency, not throughput.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { ingest, progressOf, startStack, waitForEnd } from '../test/harness/stack.ts';
import { makePictures } from './make-pictures.ts';

const { values: options } = parseArgs({
  options: {
    searches: { type: 'string', default: '200' },
    pack: { type: 'string', default: 'starter' },
    bulk: { type: 'string', default: '20000' },
    manifest: { type: 'string', default: fileURLToPath(new URL('../sample/manifest.jsonl', import.meta.url)) },
  },
});
const searches = Number(options.searches);
const folder = join(tmpdir(), `sightline-bench-320x240-${options.bulk}`);
const dataDir = mkdtempSync(join(tmpdir(), 'sightline-bench-'));
const words = ['red apple', 'shoe', 'a musical instrument', 'cat', '自行车', 'vehicle with wheels', 'fruit', 'camera'];

const answer = z.looseObject({
  degraded: z.boolean(),
  timings_ms: z.object({ encode: z.number(), index: z.number(), fuse: z.number(), total: z.number() }),
});

/** No two searches are for the same words: what was encoded a moment ago is answered from a cache. */
let asked = 0;

async function measure(url: string, label: string, until: () => Promise<boolean>): Promise<void> {
  const totalMs: number[] = [];
  const encodeMs: number[] = [];
  let degraded = 0;
  for (let n = 0; n < searches && (await until()); n++) {
    const startedAt = performance.now();
    const response = await fetch(`${url}/v1/search`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: `${words[n % words.length]} ${asked++}` }),
    });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    const { degraded: wasDegraded, timings_ms } = answer.parse(await response.json());
    totalMs.push(performance.now() - startedAt);
    encodeMs.push(timings_ms.encode);
    if (wasDegraded) degraded += 1;
  }
  const at = (values: number[], share: number) =>
    values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))]?.toFixed(0);
  console.log(
    `${label}: ${totalMs.length} searches, p50 ${at(totalMs, 0.5)} ms, p99 ${at(totalMs, 0.99)} ms (of it encode and queue: p50 ${at(encodeMs, 0.5)}, p99 ${at(encodeMs, 0.99)}), degraded ${degraded}`,
  );
}

await makePictures(folder, Number(options.bulk), 320, 240);
const stack = await startStack({ dataDir, env: { ENCODER_PACK: options.pack } });
try {
  await waitForEnd(stack.url, await ingest(stack.url, { type: 'manifest', uri: resolve(options.manifest) }));
  await measure(stack.url, 'idle      ', () => Promise.resolve(true));
  const bulk = await ingest(stack.url, { type: 'directory', path: folder });
  await measure(
    stack.url,
    'under bulk',
    async () => !['completed', 'failed'].includes((await progressOf(stack.url, bulk)).status),
  );
} finally {
  await stack.stop();
  rmSync(dataDir, { recursive: true, force: true });
}
