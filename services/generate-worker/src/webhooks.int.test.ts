import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleepFor } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { openQueueEngine } from '@sightline/shared/adapters/bullmq-queue-engine';
import { openEmbeddedPostgres } from '@sightline/shared/adapters/embedded-postgres';
import { openGuardedHttpClient } from '@sightline/shared/adapters/guarded-http-client';
import { InProcessEventLog } from '@sightline/shared/adapters/in-process-event-log';
import { SqliteLedger } from '@sightline/shared/adapters/sqlite-ledger';
import type { SightlineEvent } from '@sightline/shared/contracts/events';
import { newAsked } from '@sightline/shared/testing/question-builder';
import { newId } from '@sightline/shared/contracts/ids';
import type { Question } from '@sightline/shared/ports/question-ledger';
import type { QueueEngine } from '@sightline/shared/ports/queue-engine';
import type { Webhook } from '@sightline/shared/ports/webhook-ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { Closer } from '@sightline/shared/runtime/lifecycle';
import { freePort } from '@sightline/shared/testing/free-port';
import { failedMessage } from '@sightline/shared/webhooks/outbox-messages';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { openWebhookReceiver, readStoredBodies } from './testing/webhook-receiver.ts';
import { startWebhooks, type Webhooks } from './webhooks.ts';

const SECRET = `whsec_${Buffer.from('a secret of thirty-two bytes len').toString('base64')}`;
const SWEEP_MS = 50;
const RETRY_MS = 200;

const logger = pino({ level: 'silent' });
const closer = new Closer(logger);
let queue: QueueEngine;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-webhooks-'));
  closer.push('folder', () => rm(folder, { recursive: true, force: true }));
  const postgres = await openEmbeddedPostgres({ dataDir: folder }, { logger });
  closer.push('postgres', () => postgres.close());
  queue = await openQueueEngine({ postgresUrl: postgres.url }, { logger });
  closer.push('queue', () => queue.close());
});
afterAll(() => closer.closeAll(20_000));

let opened: Closer;
let ledger: SqliteLedger;
let registry: Registry;

beforeEach(async () => {
  opened = new Closer(logger);
  registry = new Registry();
  ledger = await SqliteLedger.open({ file: join(folder, `${newId()}.db`) });
  opened.push('ledger', () => ledger.close());
});
afterEach(() => opened.closeAll(20_000));

async function start(events: Pick<InProcessEventLog, 'publish'> = new InProcessEventLog({ logger })): Promise<Webhooks> {
  const http = openGuardedHttpClient({ allowHttp: true, allowAddresses: ['127.0.0.1'] });
  opened.push('http', () => http.close());
  const config = { sweepEveryMs: SWEEP_MS, timeoutMs: 60_000, drainMs: 2_000, delaysMs: Array<number>(100).fill(RETRY_MS) };
  const webhooks = await startWebhooks({ ledger, events, queue, http, logger, registry, config });
  opened.push('webhooks', () => webhooks.close());
  return webhooks;
}

async function addWebhook(url: string): Promise<Webhook> {
  const webhook: Webhook = {
    webhookId: newId(),
    tenant: 't',
    url,
    description: '',
    events: ['question.failed'],
    secrets: [{ secret: SECRET, expiresAt: null }],
    disabledBecause: null,
    createdAt: 1,
    updatedAt: 1,
    failingSince: null,
  };
  await ledger.addWebhook(webhook, 50);
  return webhook;
}

function questionOf(questionId: string): Question {
  return {
    questionId,
    tenant: 't',
    traceId: newId(),
    asked: newAsked(),
    status: 'running',
    createdAt: Date.now(),
    startedAt: Date.now(),
    finishedAt: null,
    attempts: 1,
    result: null,
    error: null,
    staleAt: null,
  };
}

const messageOf = (n: number) => failedMessage(questionOf(`q-${n}`), { code: 'generator_unavailable', detail: null }, Date.now());

const settled = async ({ webhookId }: Webhook, count: number): Promise<boolean> =>
  (await ledger.listDeliveries('t', webhookId, { status: 'delivered', limit: 1_000 })).deliveries.length === count;

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await sleepFor(10);
}

test('what is told of is sent at once, and what is not, or what the queue lost, is found by the sweep', async () => {
  const receiver = await openWebhookReceiver({ secrets: [SECRET] });
  opened.push('receiver', () => receiver.close());
  const webhook = await addWebhook(receiver.url);
  const lost = messageOf(1);
  await ledger.addMessages([lost]);
  const webhooks = await start();
  const told = messageOf(2);
  webhooks.told('t', await ledger.addMessages([told]));
  await until(() => settled(webhook, 2));
  expect(receiver.stored().map(({ webhookId }) => webhookId)).toEqual([lost, told].map(({ messageId }) => messageId).sort());
  expect(receiver.stored().every(({ times }) => times === 1)).toBe(true);
});

test('a receiver that is killed after storing, before answering, gets the same once more: one body an id', async () => {
  const file = join(folder, `${newId()}.db`);
  const port = await freePort();
  const webhook = await addWebhook(`http://127.0.0.1:${port}/hooks`);
  let child = await startReceiver({ file, port, dieAt: [3, 9] });
  const webhooks = await start();
  const messages = Array.from({ length: 20 }, (_, n) => messageOf(n));
  webhooks.told('t', await ledger.addMessages(messages));
  let deaths = 0;
  await until(async () => {
    if (child.exitCode !== null || child.signalCode !== null) {
      deaths += 1;
      child = await startReceiver({ file, port, dieAt: [3, 9] });
    }
    return settled(webhook, messages.length);
  });
  expect(deaths).toBe(2);
  const stored = readStoredBodies(file);
  expect(stored.map(({ webhookId }) => webhookId)).toEqual(messages.map(({ messageId }) => messageId).sort());
  expect(stored.every(({ changed }) => changed === 0)).toBe(true);
  expect(stored.filter(({ times }) => times > 1).length).toBeGreaterThanOrEqual(2);
});

test('a receiver that hangs takes its own slots, and another is served meanwhile', async () => {
  let isHanging = true;
  const slow = await openWebhookReceiver({ secrets: [SECRET], answer: () => (isHanging ? 'hang' : { status: 204 }) });
  opened.push('slow', () => slow.close());
  const quick = await openWebhookReceiver({ secrets: [SECRET] });
  opened.push('quick', () => quick.close());
  const hangs = await addWebhook(slow.url);
  const webhooks = await start();
  const many = Array.from({ length: 40 }, (_, n) => messageOf(n));
  webhooks.told('t', await ledger.addMessages(many));
  await until(() => slow.received.length === 4);
  const served = await addWebhook(quick.url);
  const few = [messageOf(50), messageOf(51)].map((message) => ({ ...message, to: { webhookId: served.webhookId } }));
  webhooks.told('t', await ledger.addMessages(few));
  await until(() => settled(served, 2));
  expect(slow.received.length).toBe(4);
  // Those that hang are broken off by the receiver, which is well again: the line moves on.
  isHanging = false;
  slow.drop();
  await until(() => settled(hangs, many.length));
  expect(slow.stored()).toHaveLength(many.length);
});

test('while the event log is away answers wait in the outbox, and are published later under the ids that webhooks carry', async () => {
  const receiver = await openWebhookReceiver({ secrets: [SECRET] });
  opened.push('receiver', () => receiver.close());
  const webhook = await addWebhook(receiver.url);
  const log = new InProcessEventLog({ logger, retryMs: 5 });
  opened.push('event log', () => log.close());
  const seen: SightlineEvent[] = [];
  const subscription = await log.subscribe('test', async (events) => void seen.push(...events));
  opened.push('subscription', () => subscription.close());
  let isAway = true;
  let refused = 0;
  const webhooks = await start({
    publish: async (events) => {
      if (isAway) {
        refused += 1;
        throw new SightlineError('events_unavailable');
      }
      await log.publish(events);
    },
  });
  const messages = [messageOf(1), messageOf(2), messageOf(3)];
  for (const message of messages) webhooks.told('t', await ledger.addMessages([message]));
  // Webhooks do not wait for it.
  await until(() => settled(webhook, 3));
  await until(() => refused > 0);
  expect(await ledger.unpublishedMessages(10)).toHaveLength(3);
  isAway = false;
  await until(() => seen.length >= 3);
  const ids = messages.map(({ messageId }) => messageId).sort();
  expect([...new Set(seen.map(({ id }) => id))].sort()).toEqual(ids);
  expect(receiver.stored().map(({ webhookId }) => webhookId)).toEqual(ids);
  await until(async () => (await ledger.unpublishedMessages(10)).length === 0);
});

test('what cannot be read in the outbox stops nothing', async () => {
  const log = new InProcessEventLog({ logger, retryMs: 5 });
  opened.push('event log', () => log.close());
  const published: string[] = [];
  const events = { publish: async (told: SightlineEvent[]) => void published.push(...told.map(({ id }) => id)) };
  const bad = [
    '{',
    '{"specversion":"1.0","type":"of.tomorrow","id":"x"}',
    '{"specversion":"1.0","type":"question.failed","id":"x"}',
  ];
  await ledger.addMessages(bad.map((event, n) => ({ ...messageOf(n), messageId: `bad-${n}`, at: n, event })));
  const good = messageOf(9);
  await ledger.addMessages([good]);
  await start(events);
  await until(() => published.length > 0);
  expect(published).toEqual([good.messageId]);
  await until(async () => (await ledger.unpublishedMessages(10)).length === 0);
});

test('metrics say how attempts ended and what is pending; old settled deliveries are dropped', async () => {
  const receiver = await openWebhookReceiver({ secrets: [SECRET], answer: ({ nth }) => ({ status: nth === 1 ? 204 : 410 }) });
  opened.push('receiver', () => receiver.close());
  const webhook = await addWebhook(receiver.url);
  const old = { ...messageOf(1), at: Date.now() - 31 * 24 * 3_600_000 };
  const [first = ''] = await ledger.addMessages([old]);
  const claim = { token: 'x', claimMs: 1_000, at: Date.now() };
  await ledger.takeDelivery(first, claim);
  const attempt = { at: old.at, durationMs: 1, status: 204, error: null };
  await ledger.settleDelivery(first, 'x', { attempt, outcome: { status: 'delivered' } });
  await ledger.settlePublished([old.messageId]);
  const webhooks = await start();
  webhooks.told('t', await ledger.addMessages([messageOf(2)]));
  await until(() => receiver.received.length === 1);
  webhooks.told('t', await ledger.addMessages([messageOf(3)]));
  await until(async () => (await ledger.getWebhook('t', webhook.webhookId))?.disabledBecause === 'gone');
  await until(async () => (await registry.metrics()).includes('sightline_webhook_disabled_total{because="gone"} 1'));
  const metrics = await registry.metrics();
  for (const line of [
    'sightline_webhook_attempts_total{outcome="delivered"} 1',
    'sightline_webhook_attempts_total{outcome="failed"} 1',
    'sightline_webhook_attempt_seconds_count 2',
    'sightline_webhook_pending 0',
    'sightline_webhook_oldest_due_seconds 0',
  ])
    expect(metrics).toContain(line);
  await until(async () => (await ledger.listDeliveries('t', webhook.webhookId, { limit: 10 })).deliveries.length === 2);
});

async function startReceiver(options: { file: string; port: number; dieAt: number[] }): Promise<ChildProcess> {
  const script = fileURLToPath(new URL('./testing/webhook-receiver-process.ts', import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify({ secrets: [SECRET], ...options })], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  opened.push('receiver process', async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  for await (const line of createInterface({ input: child.stdout })) if (line.startsWith('listening')) break;
  return child;
}
