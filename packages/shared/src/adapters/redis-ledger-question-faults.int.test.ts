import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { newAsked, newMessage, newPrompt, newResult, newReview, newWebhook } from '../../testing/question-builder.ts';
import { openRedisServer, ownRedisMissing, type RedisServer } from '../../testing/redis-server.ts';
import { deliveryId } from '../contracts/ids.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { QuestionEnd } from '../ports/question-ledger.ts';
import type { OutboxMessage } from '../ports/webhook-ledger.ts';
import { SightlineError } from '../runtime/errors.ts';
import { openLedgerClient } from './redis-ledger-client.ts';
import { PRUNE_QUESTION } from './redis-ledger-question-scripts.ts';
import { MOVE_DELIVERIES } from './redis-ledger-webhook-scripts.ts';
import { RedisLedger, type RedisLedgerOptions } from './redis-ledger.ts';

const CLAIM = { token: 'a', claimMs: 1_000, at: 20 };
const ATTEMPT = { at: 40, durationMs: 1, status: 200, error: null };

let server: RedisServer;
/** The operator's own connection. */
let admin: Redis;
let prefix: string;
const opened: RedisLedger[] = [];

async function open(
  more: Partial<RedisLedgerOptions> = {},
  openClient: typeof openLedgerClient = openLedgerClient,
): Promise<RedisLedger> {
  const ledger = await RedisLedger.open({ url: server.url, prefix, ...more }, { openClient });
  opened.push(ledger);
  return ledger;
}

const create = (ledger: Ledger, questionId: string, more: { tenant?: string; createdAt?: number } = {}) =>
  ledger.createQuestion(
    { questionId, tenant: 't', traceId: 'trace', asked: newAsked(), createdAt: 10, ...more },
    { maxBacklog: 1_000, idempotency: { key: `key-${questionId}`, digest: 'd', keepUntil: 1_000 } },
  );

const message = (messageId: string, more: Partial<OutboxMessage> = {}) => newMessage(messageId, { at: 30, ...more });

const answered = (messageId: string, more: Partial<OutboxMessage> = {}): QuestionEnd => ({
  status: 'answered',
  at: 30,
  events: [{ type: 'tokens', attempt: 1, text: 'AM4.' }],
  result: newResult(),
  citedAssets: ['x', 'y'],
  prompt: newPrompt(),
  message: message(messageId, more),
});

const addWebhook = (ledger: Ledger, webhookId: string) => ledger.addWebhook(newWebhook(webhookId), 10);

/** Keys of questions, webhooks and the outbox. */
const keysLeft = () => admin.keys(`{${prefix}:questions}:*`);

if (ownRedisMissing) test.skip(`RedisLedger's questions under faults: ${ownRedisMissing}`, () => undefined);
else
  describe("RedisLedger's questions under faults", () => {
    beforeAll(async () => {
      server = await openRedisServer({ appendFsync: 'always' });
      admin = new Redis(server.url, { maxRetriesPerRequest: null });
      admin.on('error', () => undefined);
    });

    afterAll(async () => {
      admin.disconnect();
      await server.close();
    });

    beforeEach(() => {
      prefix = `test-${randomUUID()}`;
    });

    afterEach(async () => {
      await Promise.all(opened.splice(0).map((ledger) => ledger.close()));
    });

    test('what was done while its caller saw a time-out is not done twice when it is repeated', async () => {
      /** `twice` makes a call whose answer comes too late, though it is done, and answers what the repetition says. */
      const scenario = async (ledger: Ledger, twice: <T>(call: () => Promise<T>) => Promise<T>) => {
        await addWebhook(ledger, 'w');
        const made = await twice(() => create(ledger, 'q'));
        expect(made).toMatchObject({ question: { questionId: 'q', status: 'queued' }, ahead: 0 });
        expect(await ledger.questionBacklog()).toMatchObject({ queued: 1, running: 0 });
        expect(await twice(() => ledger.takeQuestion('q', CLAIM))).toMatchObject({ status: 'running', attempts: 1 });
        const finished = await twice(() => ledger.finishQuestion('q', 'a', answered('m')));
        expect(await ledger.getQuestion('t', 'q')).toMatchObject({ status: 'answered', result: newResult() });
        const told = await ledger.questionEvents('t', 'q', { after: 0, limit: 9 });
        expect(told.map(({ seq, data }) => [seq, data.type])).toEqual([
          [1, 'tokens'],
          [2, 'done'],
        ]);
        const stale = message('n', { type: 'answer.stale', to: { url: 'https://example.org', secret: 'whsec_BBBB' } });
        const marked = await twice(() => ledger.markStale('q', stale, 35));
        expect(await twice(() => ledger.putReview('t', 'q', newReview()))).toEqual([newReview()]);
        expect(await ledger.listReviewed('t', { limit: 9 })).toMatchObject({ total: 1, reviewed: [{ prompt: newPrompt() }] });
        const own = deliveryId('m', 'w');
        expect(await twice(() => ledger.takeDelivery(own, { ...CLAIM, at: 40 }))).toMatchObject({ delivery: { sequence: 1 } });
        const settled = await twice(() =>
          ledger.settleDelivery(own, 'a', { attempt: ATTEMPT, outcome: { status: 'delivered' } }),
        );
        const { deliveries } = await ledger.listDeliveries('t', 'w', { limit: 9 });
        expect(deliveries).toMatchObject([{ deliveryId: own, status: 'delivered', tries: 1 }]);
        expect((await ledger.dueDeliveries({ at: 50, limit: 9 })).map((due) => due.deliveryId)).toEqual([deliveryId('n', null)]);
        return { isNew: made.isNew, finished, marked, settled };
      };
      // Redis has to know the scripts, or a late call is only asked for them.
      const first = await scenario(await open({ prefix: `${prefix}-first` }), (call) => call());
      expect(first).toEqual({
        isNew: true,
        finished: { deliveryIds: [deliveryId('m', 'w')] },
        marked: { deliveryIds: [deliveryId('n', null)] },
        settled: true,
      });
      const late = await scenario(await open({ commandTimeoutMs: 150 }), async (call) => {
        await admin.call('CLIENT', 'PAUSE', '400', 'ALL');
        await expect(call()).rejects.toMatchObject({ code: 'ledger_unavailable' });
        await admin.ping();
        return call();
      });
      // Done before: the worker reads the question to know.
      expect(late).toEqual({ isNew: false, finished: null, marked: null, settled: false });
    });

    test('a question and its message are there together or not at all when Redis is killed in mid-use, three times', async () => {
      const ledger = await open({ commandTimeoutMs: 2_000 });
      await addWebhook(ledger, 'w');
      const asked: string[] = [];
      const finished = new Set<string>();
      for (let round = 0; round < 3; round++) {
        let killAfter = 7 + 4 * round;
        let dies: Promise<void> | undefined;
        // Until the first call that is not answered; what it did, nobody knows.
        for (let lost = false; !lost;) {
          if (killAfter-- === 0) dies = server.kill?.();
          const id = `q${round}-${asked.length}`;
          try {
            asked.push(id);
            await create(ledger, id);
            await ledger.takeQuestion(id, CLAIM);
            await ledger.finishQuestion(id, 'a', answered(`m-${id}`));
            finished.add(id);
          } catch (error) {
            expect(error).toMatchObject({ code: 'ledger_unavailable' });
            lost = true;
          }
        }
        await dies;
        await server.start?.();
        await admin.ping();
        const { deliveries } = await ledger.listDeliveries('t', 'w', { limit: 1_000 });
        const told = new Set(deliveries.map(({ messageId }) => messageId));
        const unpublished = new Set((await ledger.unpublishedMessages(1_000)).map(({ messageId }) => messageId));
        for (const id of asked) {
          const question = await ledger.getQuestion('t', id);
          const isAnswered = question?.status === 'answered';
          if (finished.has(id)) expect(isAnswered).toBe(true);
          expect(told.has(`m-${id}`)).toBe(isAnswered);
          expect(unpublished.has(`m-${id}`)).toBe(isAnswered);
          expect(await ledger.questionEvents('t', id, { after: 0, limit: 9 })).toHaveLength(isAnswered ? 2 : 0);
        }
        expect(deliveries.map(({ sequence }) => sequence)).toEqual(deliveries.map((_, n) => deliveries.length - n));
      }
      expect(finished.size).toBeGreaterThan(10);
    }, 60_000);

    test('at maxmemory no question is accepted, and what was accepted is answered, told and delivered', async () => {
      const ledger = await open();
      await addWebhook(ledger, 'w');
      await create(ledger, 'q1');
      await create(ledger, 'q2');
      await admin.config('SET', 'maxmemory', '1mb');
      try {
        for (const call of [() => create(ledger, 'q3'), () => addWebhook(ledger, 'v')])
          await expect(call()).rejects.toMatchObject({ code: 'ledger_full', retryable: true });
        expect(await ledger.getQuestion('t', 'q3')).toBeNull();
        expect(await ledger.takeQuestion('q1', CLAIM)).toMatchObject({ status: 'running' });
        await ledger.giveBackQuestion('q1', 'a');
        await ledger.takeQuestion('q1', CLAIM);
        expect(await ledger.renewQuestion('q1', CLAIM)).toBe('held');
        expect(await ledger.addQuestionEvents('q1', 'a', [{ type: 'tokens', attempt: 1, text: 'A' }])).toBe(true);
        expect(await ledger.finishQuestion('q1', 'a', answered('m'))).toEqual({ deliveryIds: [deliveryId('m', 'w')] });
        expect(await ledger.cancelQuestion('t', 'q2', { eventId: 'e', at: 30 })).toBe('cancelled');
        expect(await ledger.dueDeliveries({ at: 50, limit: 9 })).toHaveLength(1);
        await ledger.takeDelivery(deliveryId('m', 'w'), { ...CLAIM, at: 40 });
        await ledger.giveBackDelivery(deliveryId('m', 'w'), 'another');
        expect(await ledger.dueDeliveries({ at: 50, limit: 9 })).toEqual([]);
        await ledger.giveBackDelivery(deliveryId('m', 'w'), 'a');
        expect(await ledger.dueDeliveries({ at: 50, limit: 9 })).toHaveLength(1);
        expect(await ledger.takeDelivery(deliveryId('m', 'w'), { ...CLAIM, token: 'b', at: 40 })).not.toBeNull();
        const settled = { attempt: ATTEMPT, outcome: { status: 'failed' }, disable: 'gone' } as const;
        expect(await ledger.settleDelivery(deliveryId('m', 'w'), 'b', settled)).toBe(true);
        await ledger.settlePublished(['m']);
        expect(await ledger.addMessages([message('n', { type: 'ingestion.completed' })])).toEqual([]);
        expect(await ledger.markStale('q1', message('s'), 60)).toEqual({ deliveryIds: [] });
        await ledger.settleRecheck('q1');
        expect(await ledger.pruneQuestions({ before: 100, reviewedBefore: 100, at: 100, limit: 9 })).toHaveLength(2);
        expect(await ledger.pruneMessages({ before: 100, limit: 9 })).toBe(1);
        await ledger.deleteTenant('t');
      } finally {
        await admin.config('SET', 'maxmemory', '0');
      }
      expect(await keysLeft()).toEqual([]);
    });

    test('of eight racing workers on two connections each question is ended once, and each webhook counts without a gap', async () => {
      const ledgers = [await open(), await open()];
      const [first] = ledgers;
      if (!first) throw new Error('none');
      await addWebhook(first, 'w1');
      await addWebhook(first, 'w2');
      const ids = Array.from({ length: 40 }, (_, n) => `q${n}`);
      for (const id of ids) await create(first, id);
      const ended: string[] = [];
      let lost = 0;
      await Promise.all(
        Array.from({ length: 8 }, async (_, worker) => {
          const ledger = ledgers[worker % 2] ?? first;
          const token = `worker-${worker}`;
          // All at the same one; every other claim lapses at once, so that another takes it meanwhile.
          for (const [turn, id] of ids.entries()) {
            const claim = { token, claimMs: (turn + worker) % 2 === 0 ? 0 : 1_000, at: 20 };
            if (!(await ledger.takeQuestion(id, claim))) continue;
            await ledger.addQuestionEvents(id, token, [{ type: 'tokens', attempt: 1, text: token }]);
            if (await ledger.finishQuestion(id, token, answered(`message-${id}-${token}`))) ended.push(id);
            else lost++;
          }
        }),
      );
      expect(new Set(ended).size).toBe(ids.length);
      expect(ended).toHaveLength(ids.length);
      expect(lost).toBeGreaterThan(0);
      expect(await first.questionBacklog()).toEqual({ queued: 0, running: 0, oldestCreatedAt: null });
      for (const webhookId of ['w1', 'w2']) {
        const { deliveries } = await first.listDeliveries('t', webhookId, { limit: 100 });
        const sequences = deliveries.map(({ sequence }) => sequence).toSorted((a, b) => a - b);
        expect(sequences).toEqual(ids.map((_, n) => n + 1));
      }
      for (const id of ids) {
        const told = await first.questionEvents('t', id, { after: 0, limit: 1_000 });
        expect(told.map(({ seq }) => seq)).toEqual(told.map((_, n) => n + 1));
        expect(told.filter(({ data }) => data.type === 'done')).toHaveLength(1);
        expect(told.at(-1)?.data.type).toBe('done');
      }
    }, 30_000);

    test("a change of a webhook with very many deliveries that is broken off is gone on with by who looks for what's due", async () => {
      let isBroken = false;
      const breaking: typeof openLedgerClient = async (place, onError) => {
        const client = await openLedgerClient(place, onError);
        const run: (typeof client)['run'] = async (script, keys, args) => {
          if (isBroken && script === MOVE_DELIVERIES) throw new SightlineError('ledger_unavailable');
          return client.run(script, keys, args);
        };
        return { ...client, run };
      };
      const ledger = await open({}, breaking);
      const broken = async (call: () => Promise<unknown>) => {
        isBroken = true;
        await expect(call()).rejects.toMatchObject({ code: 'ledger_unavailable' });
        isBroken = false;
      };
      await addWebhook(ledger, 'w');
      const count = 501;
      await ledger.addMessages(Array.from({ length: count }, (_, n) => message(`m${String(n).padStart(4, '0')}`)));
      expect(await ledger.deliveryBacklog(30)).toEqual({ pending: count, oldestDueAt: 30 });

      await broken(() => ledger.changeWebhook('t', 'w', { disabledBecause: 'user' }, 50));
      // What is behind is not sent, though it is counted still.
      expect((await ledger.deliveryBacklog(60)).pending).toBe(count - 200);
      expect(await ledger.takeDelivery(deliveryId('m0500', 'w'), { ...CLAIM, at: 60 })).toBeNull();
      await ledger.dueDeliveries({ at: 60, limit: 9 });
      expect(await ledger.dueDeliveries({ at: 60, limit: 9 })).toEqual([]);
      expect(await ledger.deliveryBacklog(60)).toEqual({ pending: 0, oldestDueAt: null });

      await broken(() => ledger.changeWebhook('t', 'w', { disabledBecause: null }, 70));
      expect(await ledger.changeWebhook('t', 'w', {}, 70)).toMatchObject({ disabledBecause: null });
      expect(await ledger.deliveryBacklog(80)).toEqual({ pending: count, oldestDueAt: 70 });

      await broken(() => ledger.deleteWebhook('t', 'w', 90));
      expect(await ledger.deleteWebhook('t', 'w', 90)).toBe(false);
      expect(await ledger.deliveryBacklog(99)).toEqual({ pending: 0, oldestDueAt: null });
      const { deliveries } = await ledger.listDeliveries('t', 'w', { status: 'dropped', limit: 2_000 });
      expect(deliveries).toHaveLength(count);
      await ledger.settlePublished(deliveries.map(({ messageId }) => messageId));
      expect(await ledger.pruneMessages({ before: 99, limit: 5_000 })).toBe(count);
      expect(await keysLeft()).toEqual([]);
    }, 60_000);

    test('what is reviewed while it is pruned stays, with its review and its prompt', async () => {
      let review = async (): Promise<unknown> => null;
      const reviewing: typeof openLedgerClient = async (place, onError) => {
        const client = await openLedgerClient(place, onError);
        const run: (typeof client)['run'] = async (script, keys, args) => {
          // Between the reading of what is over and its dropping.
          if (script === PRUNE_QUESTION) await review();
          return client.run(script, keys, args);
        };
        return { ...client, run };
      };
      const [pruning, ledger] = [await open({}, reviewing), await open()];
      for (const id of ['q1', 'q2']) {
        await create(ledger, id);
        await ledger.takeQuestion(id, CLAIM);
        await ledger.finishQuestion(id, 'a', answered(`m-${id}`));
      }
      review = () => ledger.putReview('t', 'q1', newReview());
      const dropped = await pruning.pruneQuestions({ before: 100, reviewedBefore: 10, at: 100, limit: 9 });
      // Pictures are deleted of what is answered here.
      expect(dropped).toEqual([{ tenant: 't', questionId: 'q2' }]);
      expect(await ledger.getReviewed('t', 'q1')).toMatchObject({ reviews: [newReview()], prompt: newPrompt() });
      expect(await ledger.getQuestion('t', 'q2')).toBeNull();
    });

    test('of what was pruned, and of a tenant that is deleted, no key is left', async () => {
      const ledger = await open();
      const others = async () => {
        await addWebhook(ledger, 'w');
        for (let n = 0; n < 230; n++) await create(ledger, `q${n}`, { createdAt: 10 + n });
        for (let n = 0; n < 120; n++) {
          await ledger.takeQuestion(`q${n}`, CLAIM);
          if (n < 110) await ledger.finishQuestion(`q${n}`, 'a', answered(`m${n}`));
        }
        await ledger.cancelQuestion('t', 'q200', { eventId: 'e', at: 30 });
        for (const id of ['q1', 'q2', 'q109'])
          for (const reviewer of ['ann', 'bob']) await ledger.putReview('t', id, newReview({ reviewer }));
      };
      await others();
      for (const questionId of ['q0', 'q1']) await ledger.markStale(questionId, message(`stale-${questionId}`), 40);
      await ledger.settleRecheck('q0');
      // A bounded step takes no more than it says.
      expect(await ledger.pruneQuestions({ before: 100, reviewedBefore: 100, at: 100, limit: 11 })).toHaveLength(11);
      expect(await ledger.pruneQuestions({ before: 100, reviewedBefore: 100, at: 100, limit: 500 })).toHaveLength(100);
      await ledger.deleteTenant('t', { createdUpTo: 10 + 228 });
      expect((await ledger.listQuestions('t', { limit: 9 })).questions.map(({ questionId }) => questionId)).toEqual(['q229']);
      await ledger.deleteTenant('t');
      expect(await keysLeft()).toEqual([]);

      await others();
      await ledger.deleteTenant('t');
      expect(await keysLeft()).toEqual([]);
      expect(await ledger.finishQuestion('q115', 'a', answered('late'))).toBeNull();
      expect(await keysLeft()).toEqual([]);

      await addWebhook(ledger, 'w');
      for (const id of ['q1', 'q2']) {
        await create(ledger, id);
        await ledger.takeQuestion(id, CLAIM);
      }
      await ledger.finishQuestion('q1', 'a', answered('m1'));
      await ledger.finishQuestion('q2', 'a', answered('m2', { to: { url: 'https://example.org', secret: 'whsec_BBBB' } }));
      for (const own of [deliveryId('m1', 'w'), deliveryId('m2', null)]) {
        await ledger.takeDelivery(own, { ...CLAIM, at: 40 });
        await ledger.settleDelivery(own, 'a', { attempt: ATTEMPT, outcome: { status: 'delivered' } });
      }
      await ledger.settlePublished(['m1', 'm2']);
      expect(await ledger.pruneMessages({ before: 100, limit: 9 })).toBe(2);
      expect(await ledger.pruneQuestions({ before: 100, reviewedBefore: 100, at: 2_000, limit: 9 })).toHaveLength(2);
      expect((await keysLeft()).map((key) => key.slice(key.lastIndexOf(':') + 1)).toSorted()).toEqual([
        'webhook-places',
        'webhooks',
      ]);
      await ledger.deleteWebhook('t', 'w', 50);
      expect(await keysLeft()).toEqual([]);
    }, 30_000);
  });
