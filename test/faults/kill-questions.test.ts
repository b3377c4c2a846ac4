import { afterAll, beforeAll, expect } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readStoredBodies } from '@sightline/generate-worker/testing/webhook-receiver';
import {
  questionAccepted,
  questionList,
  questionTokens,
  questionView,
  type QuestionView,
} from '@sightline/shared/contracts/question-http';
import { webhookIssued } from '@sightline/shared/contracts/webhook-http';
import { ERRORS } from '@sightline/shared/runtime/errors';
import { ownRedisMissing } from '@sightline/shared/testing/redis-server';
import { freePort } from '@sightline/shared/testing/free-port';
import { ApiError } from '../../scripts/api-client.ts';
import { ProductionStack, stackMissing } from '../harness/production-stack.ts';
import { allEvents } from '../harness/all-events.ts';
import { SideProcess } from '../harness/side-process.ts';
import { FAULT_TIMEOUT_MS, faultTest } from './fault-test.ts';

const QUESTIONS = Number(process.env['FAULT_QUESTIONS'] ?? 1_000);
const RECORDS = 40;
const ASKED_AT_ONCE = 16;
const READ_AT_ONCE = 8;
const WORKERS = ['generate-worker', 'generate-worker-2'];
const ENDED: ReadonlySet<string> = new Set(['answered', 'failed', 'cancelled']);

let folder: string;
let stack: ProductionStack;
let model: SideProcess;
let receiver: SideProcess;
let hook: { webhookId: string; file: string };

beforeAll(async () => {
  if (stackMissing) return;
  folder = mkdtempSync(join(tmpdir(), 'sightline-questions-'));
  const scripted = { slots: 8, serviceMs: 120, always: { wordsAtOnce: 4, tokenMs: 5 } };
  const [modelPort, port] = [await freePort(), await freePort()];
  model = await SideProcess.start('services/generate-worker/src/testing/scripted-model-process.ts', [
    String(modelPort),
    JSON.stringify(scripted),
  ]);
  const egress = { EGRESS_ALLOW_HTTP: 'true', EGRESS_ALLOW: '127.0.0.1/32' };
  stack = await ProductionStack.open({
    env: { ...egress, VLM_BASE_URL: `http://127.0.0.1:${modelPort}/v1`, VLM_IN_FLIGHT: '8' },
    moreProcesses: [{ name: 'generate-worker-2', service: 'generate-worker', env: {} }],
  });
  const url = `http://127.0.0.1:${port}/hooks`;
  const events = ['question.answered', 'question.failed'];
  const { webhook, secret } = await stack.client.post('/v1/webhooks', { url, events }, webhookIssued);
  const file = join(folder, 'bodies.db');
  hook = { webhookId: webhook.webhook_id, file };
  receiver = await SideProcess.start('services/generate-worker/src/testing/webhook-receiver-process.ts', [
    JSON.stringify({ secrets: [secret], file, port }),
  ]);
  const bucket = stack.newBucket();
  await bucket.putPictures(RECORDS);
  await bucket.putManifest(RECORDS);
  expect((await stack.waitForEnd(await stack.ingest(bucket.manifest))).status).toBe('completed');
}, FAULT_TIMEOUT_MS);

afterAll(async () => {
  const ends = await stack?.stopAll();
  await model?.kill();
  await receiver?.kill();
  await stack?.close();
  if (folder) rmSync(folder, { recursive: true, force: true });
  expect(ends ?? []).toEqual([]);
}, FAULT_TIMEOUT_MS);

faultTest(
  `${QUESTIONS} questions through kill -9 of workers, model server, receiver, interface and Redis end once each, as their logs and webhooks say`,
  null,
  async (random) => {
    let allAsked = false;
    const ids: string[] = [];
    const asking = inParallel(
      Array.from({ length: QUESTIONS }, (_, n) => n),
      ASKED_AT_ONCE,
      async (n) => {
        const { question_id } = await insist(() =>
          stack.client.post(
            '/v1/questions',
            { question: `Which part fits part ${n % RECORDS}?`, metadata: { n: String(n) } },
            questionAccepted,
            {
              'idempotency-key': `question-${n}`,
            },
          ),
        );
        ids.push(question_id);
      },
    ).finally(() => (allAsked = true));

    let kills = 0;
    const ended = async (): Promise<boolean> => {
      const { questions } = await insist(() => stack.client.get('/v1/questions?status=queued&limit=1', questionList));
      return allAsked && questions.length === 0;
    };
    while (!(await ended())) {
      await sleep(random.whole(500, 2_500));
      const victim = random.pick([
        ...WORKERS,
        ...WORKERS,
        'model',
        'receiver',
        'query-api',
        ...(ownRedisMissing ? [] : ['redis']),
      ]);
      kills += 1;
      if (victim === 'model') await model.killAndStart(random.whole(0, 1_500));
      else if (victim === 'receiver') await receiver.killAndStart(random.whole(0, 1_500));
      else if (victim === 'redis') {
        await stack.redis.kill?.();
        await sleep(random.whole(0, 1_000));
        await stack.redis.start?.();
      } else {
        await stack.kill(victim);
        await sleep(random.whole(0, 1_000));
        stack.launch(victim);
      }
    }
    await asking;
    await stack.startAll();
    expect(kills).toBeGreaterThanOrEqual(QUESTIONS >= 1_000 ? 6 : 1);
    expect(new Set(ids).size).toBe(QUESTIONS);

    const views = await inParallel(ids, READ_AT_ONCE, endOf);
    for (const view of views) {
      if (view.status === 'failed') expect(view.error?.code).toMatch(/^[a-z_]+$/);
      else expect(view.status).toBe('answered');
    }
    // A model server that dies now and then fails no question for good.
    expect(views.filter(({ status }) => status === 'failed').length).toBeLessThanOrEqual(QUESTIONS / 50);

    // No answer differs from what was streamed of it.
    const doneIds = new Map<string, string>();
    await inParallel(views, READ_AT_ONCE, async (view) => {
      const events = await allEvents(stack.client, view.links.events);
      const last = events.at(-1);
      expect(last?.event).toBe('done');
      expect(questionView.parse(last?.data)).toEqual(view);
      doneIds.set(view.question_id, last?.id ?? '');
      if (view.status !== 'answered' || view.no_match) return;
      const from = events.findLastIndex(({ event }) => event === 'retrieved');
      const streamed = events
        .slice(from)
        .flatMap(({ event, data }) => (event === 'tokens' ? [questionTokens.parse(data).text] : []));
      expect(withoutMarks(streamed.join(''))).toBe(withoutMarks(view.answer ?? ''));
    });

    // What waits for its next try after the receiver's deaths is sent when the webhook is enabled again.
    for (const endsAt = Date.now() + 120_000; ; await sleep(1_000)) {
      const stored = readStoredBodies(hook.file);
      if (stored.length === QUESTIONS) break;
      if (Date.now() > endsAt) throw new Error(`Only ${stored.length} of ${QUESTIONS} webhooks came.\n${stack.outputs()}`);
      for (const enabled of [false, true]) await stack.client.patch(`/v1/webhooks/${hook.webhookId}`, { enabled }, webhookIssued);
      await sleep(3_000);
    }
    const stored = readStoredBodies(hook.file);
    expect(stored.filter(({ changed }) => changed > 0)).toEqual([]);
    const told = new Map(
      stored.map(({ webhookId, body }) => {
        const { type, data } = JSON.parse(body) as {
          type: string;
          data: { question_id: string; status: string; answer?: string };
        };
        return [data.question_id, { webhookId, type, data }];
      }),
    );
    expect(told.size).toBe(QUESTIONS);
    for (const view of views) {
      const body = told.get(view.question_id);
      expect(body?.type).toBe(`question.${view.status}`);
      if (view.status === 'answered') expect(body?.data.answer).toBe(view.answer);
      expect(body?.webhookId).toBe(doneIds.get(view.question_id));
    }
  },
);

const TRIES_MS = 120_000;

/** Asks again while nobody answers, or what answers says that it may pass. */
async function insist<T>(ask: () => Promise<T>): Promise<T> {
  for (const endsAt = performance.now() + TRIES_MS; ; await sleep(200)) {
    try {
      return await ask();
    } catch (error) {
      const isFinal = error instanceof ApiError && !ERRORS[error.code].retryable;
      if (isFinal || performance.now() > endsAt) throw error;
    }
  }
}

async function endOf(questionId: string): Promise<QuestionView> {
  for (const endsAt = performance.now() + TRIES_MS; ; await sleep(200)) {
    const view = await insist(() => stack.client.get(`/v1/questions/${questionId}`, questionView));
    if (ENDED.has(view.status)) return view;
    if (performance.now() > endsAt) throw new Error(`It does not end: ${JSON.stringify(view)}\n${stack.outputs()}`);
  }
}

async function inParallel<T, R>(all: readonly T[], atOnce: number, work: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const rest = all.entries();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const [n, one] of rest) results[n] = await work(one);
    }),
  );
  return results;
}

/** An answer as it was streamed and as it is told differ by the marks of boxes and the space around them. */
function withoutMarks(text: string): string {
  return text
    .replaceAll(/\[\[[^\]]*\]\]/g, '')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/ ([.,])/g, '$1')
    .trim();
}
