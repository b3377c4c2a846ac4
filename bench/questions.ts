/**
 * `npm run bench:questions [-- --questions 150] [--waiting 64] [--production]`: what answering adds to the model's own time, and how busy it keeps
 * the model server. First one question at a time against a scripted server that answers at once: from the asking until the answer shows
 * and until its webhook has come, against the same model request sent straight to the server in the same run (the floor). Then so many
 * questions waiting all the time against a server with 8 places of half a second each: the share of their time that is used. The
 * embedded stack; with `--production` the services as processes of their own on Redis and an S3 gateway, with Qdrant where there is one.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openWebhookReceiver } from '@sightline/generate-worker/testing/webhook-receiver';
import { questionAccepted, questionView, type QuestionView } from '@sightline/shared/contracts/question-http';
import type { Filter } from '@sightline/shared/contracts/filter';
import { webhookIssued } from '@sightline/shared/contracts/webhook-http';
import { freePort } from '@sightline/shared/testing/free-port';
import { z } from 'zod';
import { ApiClient } from '../scripts/api-client.ts';
import { ProductionStack } from '../test/harness/production-stack.ts';
import { allEvents } from '../test/harness/all-events.ts';
import { SideProcess } from '../test/harness/side-process.ts';
import { ingest, startStack, waitForEnd } from '../test/harness/stack.ts';

const { values: options } = parseArgs({
  options: {
    questions: { type: 'string', default: '150' },
    waiting: { type: 'string', default: '64' },
    production: { type: 'boolean', default: false },
  },
});
const questions = Number(options.questions);
const waiting = Number(options.waiting);
const SLOTS = 8;
const SERVICE_MS = 500;
const WARM_UP = 10;
const RECORDS = 40;
const MANY = '1000000';
const SAMPLE = fileURLToPath(new URL('../sample/manifest.jsonl', import.meta.url));

interface Place {
  client: ApiClient;
  /** Passed by everything, so that the model is asked whatever is found. */
  filter: Filter;
  close(): Promise<void>;
}

async function openPlace(env: Record<string, string>): Promise<Place> {
  const limits = { RATE_LIMIT_READ: MANY, RATE_LIMIT_PUBLIC: MANY, RATE_LIMIT_ASK: MANY, QUESTION_BACKLOG: '10000' };
  const all = { ...limits, EGRESS_ALLOW_HTTP: 'true', EGRESS_ALLOW: '127.0.0.1/32', ...env };
  if (options.production) {
    const stack = await ProductionStack.open({ env: all });
    const bucket = stack.newBucket();
    await bucket.putPictures(RECORDS);
    await bucket.putManifest(RECORDS);
    await stack.waitForEnd(await stack.ingest(bucket.manifest));
    return {
      client: stack.client,
      filter: { size_mm: { gte: 0 } },
      close: async () => {
        await stack.stopAll();
        await stack.close();
      },
    };
  }
  const dir = mkdtempSync(join(tmpdir(), 'sightline-bench-'));
  const stack = await startStack({ dataDir: dir, env: all });
  await waitForEnd(stack.url, await ingest(stack.url, { type: 'manifest', uri: SAMPLE }));
  return {
    client: new ApiClient(stack.url),
    filter: { kind: ['product', 'drawing', 'problem', 'xray'] },
    close: async () => {
      await stack.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function openModel(scripted: object): Promise<{ baseUrl: string; process: SideProcess }> {
  const port = await freePort();
  const file = 'services/generate-worker/src/testing/scripted-model-process.ts';
  const process = await SideProcess.start(file, [String(port), JSON.stringify(scripted)]);
  return { baseUrl: `http://127.0.0.1:${port}/v1`, process };
}

const WORDS = [
  'cooler that fits AM4',
  'red magnet',
  'bushings of the plate',
  'umbrella',
  'badge with an apple',
  'connector of 12 V',
];
const questionOf = (n: number): string => `Which is the ${WORDS[n % WORDS.length]}, number ${n}?`;

/** Asks, follows the stream to its end, and answers how long that took with the question as it is then. */
async function askAndWait({ client, filter }: Place, question: string): Promise<{ tookMs: number; view: QuestionView }> {
  const startedAt = performance.now();
  const { links } = await client.post('/v1/questions', { question, filter }, questionAccepted);
  const done = (await allEvents(client, links.events)).at(-1);
  const tookMs = performance.now() - startedAt;
  return { tookMs, view: questionView.parse(done?.data) };
}

const recorded = z.array(z.looseObject({ text: z.string(), images: z.number() }));

/** The model's own time: a prompt of the same size with as many pictures, straight to the server. */
async function floor(baseUrl: string): Promise<number[]> {
  const seen = recorded
    .parse(await (await fetch(new URL('/scripted/requests', baseUrl))).json())
    .findLast(({ images }) => images > 0);
  const picture = `data:image/png;base64,${Buffer.alloc(40_000, 7).toString('base64')}`;
  const content = [
    { type: 'text', text: seen?.text ?? '' },
    ...Array.from({ length: seen?.images ?? 1 }, () => ({ type: 'image_url', image_url: { url: picture } })),
  ];
  const body = JSON.stringify({ model: 'scripted', stream: true, max_tokens: 512, messages: [{ role: 'user', content }] });
  const took: number[] = [];
  for (let n = 0; n < questions + WARM_UP; n++) {
    const startedAt = performance.now();
    await (
      await fetch(`${baseUrl}/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    ).text();
    if (n >= WARM_UP) took.push(performance.now() - startedAt);
  }
  return took;
}

async function measureAddedTime(): Promise<void> {
  const model = await openModel({});
  const place = await openPlace({ VLM_BASE_URL: model.baseUrl });
  const arrived = new Map<string, number>();
  const receiver = await openWebhookReceiver({
    secrets: [],
    answer: ({ body }) => {
      arrived.set((JSON.parse(body) as { data: { question_id: string } }).data.question_id, performance.now());
      return { status: 204 };
    },
  });
  try {
    const { secret } = await place.client.post(
      '/v1/webhooks',
      { url: receiver.url, events: ['question.answered'] },
      webhookIssued,
    );
    receiver.secrets.push(secret ?? '');
    const shown: number[] = [];
    const delivered: number[] = [];
    const stages: Record<string, number[]> = {};
    let noMatch = 0;
    for (let n = 0; n < questions + WARM_UP; n++) {
      const startedAt = performance.now();
      const { tookMs, view } = await askAndWait(place, questionOf(n));
      while (!arrived.has(view.question_id)) await new Promise((resolve) => setTimeout(resolve, 1));
      if (n < WARM_UP) continue;
      if (view.no_match) noMatch += 1;
      shown.push(tookMs);
      delivered.push((arrived.get(view.question_id) ?? 0) - startedAt);
      for (const [stage, ms] of Object.entries(view.timings_ms ?? {})) (stages[stage] ??= []).push(ms ?? 0);
    }
    const own = await floor(model.baseUrl);
    print('straight to the model server', own);
    print('until the answer shows', shown);
    print('until the webhook has come', delivered);
    for (const [stage, values] of Object.entries(stages)) print(`  ${stage}`, values);
    const added = (share: number): string => (at(shown, share) - at(own, share)).toFixed(0);
    console.log(
      `added over the model's own time: p50 ${added(0.5)} ms, p99 ${added(0.99)} ms (${noMatch} of ${questions} found nothing and asked no model)`,
    );
  } finally {
    await receiver.close();
    await place.close();
    await model.process.kill();
  }
}

const capacity = z.object({ busyMs: z.number(), mostAtOnce: z.number() });

async function measureCapacity(): Promise<void> {
  const model = await openModel({ slots: SLOTS, serviceMs: SERVICE_MS });
  const place = await openPlace({ VLM_BASE_URL: model.baseUrl, VLM_IN_FLIGHT: String(SLOTS * 2) });
  const look = async () => capacity.parse(await (await fetch(new URL('/scripted/capacity', model.baseUrl))).json());
  try {
    let asked = 0;
    let begin: { at: number; busyMs: number } | null = null;
    let end: { at: number; busyMs: number } | null = null;
    const total = questions * 2 + waiting;
    await Promise.all(
      Array.from({ length: waiting }, async () => {
        while (asked < total) {
          const n = asked++;
          // From when all wait until nobody asks any more.
          if (n === waiting) begin = { at: performance.now(), busyMs: (await look()).busyMs };
          if (n === total - 1) end = { at: performance.now(), busyMs: (await look()).busyMs };
          await askAndWait(place, questionOf(n));
        }
      }),
    );
    const [from, to] = [begin, end] as [{ at: number; busyMs: number } | null, { at: number; busyMs: number } | null];
    if (!from || !to) throw new Error('too few questions');
    const share = (to.busyMs - from.busyMs) / (SLOTS * (to.at - from.at));
    const rate = ((total - waiting) / ((to.at - from.at) / 1000)).toFixed(1);
    console.log(
      `with ${waiting} questions waiting: ${(share * 100).toFixed(1)} % of ${SLOTS} places of ${SERVICE_MS} ms are used, ${rate} questions/s (at most ${((SLOTS * 1000) / SERVICE_MS).toFixed(0)})`,
    );
  } finally {
    await place.close();
    await model.process.kill();
  }
}

function at(values: number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN;
}

function print(what: string, values: number[]): void {
  console.log(
    `${what.padEnd(30)} p50 ${at(values, 0.5).toFixed(1).padStart(7)} ms, p99 ${at(values, 0.99).toFixed(1).padStart(7)} ms`,
  );
}

console.log(`${options.production ? 'production' : 'embedded'} stack, ${availableParallelism()} cores`);
await measureAddedTime();
await measureCapacity();
