import { randomUUID } from 'node:crypto';
import { listCursor, listPlace } from '../contracts/list-cursor.ts';
import { askedQuestion, questionResult, type QuestionEventData } from '../contracts/questions.ts';
import type { Question, QuestionEnd, QuestionLedger, QuestionStatus, StoredQuestionEvent } from '../ports/question-ledger.ts';
import type { OutboxMessage } from '../ports/webhook-ledger.ts';
import { SightlineError } from '../runtime/errors.ts';
import type { LedgerClient } from './redis-ledger-client.ts';
import { tenantTag, type LedgerKeys } from './redis-ledger-keys.ts';
import { packedPrompt } from './redis-ledger-prompt.ts';
import * as scripts from './redis-ledger-question-scripts.ts';
import { asFields, asList, asNumber, asText } from './redis-ledger-reply.ts';
import { messageArguments } from './redis-ledger-webhooks.ts';

const STATUSES: QuestionStatus[] = ['queued', 'running', 'answered', 'failed', 'cancelled'];
const PAGE = 100;

/**
 * Ledger's methods on questions, on Redis. A question is `record` (hash) and `events` (list of JSON). Over all: `places` (members
 * in the order of a listing, by tenant and status), `queued` and `unfinished` (by createdAt), `claimed` (by when the claim
 * lapses), `finished` and `recheck` (by finishedAt), `citing` (members by tenant, asset and question), `kept` (idempotency keys)
 * and `kept-until`; of reviews see redisFeedback. A script that sees ids only then is followed by reading their records: who
 * finds one gone leaves it out.
 */
export function redisQuestions(client: LedgerClient, { questions: keys, outbox }: LedgerKeys) {
  const [, , , , finished = '', recheck = '', citing = '', , , reviewed = ''] = keys.shared;
  const keysOf = (questionId: string): string[] => [...keys.shared, ...keys.of(questionId)];

  const readAll = async (ids: string[]): Promise<Question[]> => {
    const found: Question[] = [];
    for (const page of pagesOf(ids)) {
      const records = asList(await client.run(scripts.READ_QUESTIONS, page.map(keys.record), []));
      found.push(...page.flatMap((id, n) => toQuestion(id, asFields(records[n])) ?? []));
    }
    return found;
  };
  const read = async (questionId: string): Promise<Question | null> => (await readAll([questionId]))[0] ?? null;

  /** What stands under one name in the records of those that are there. */
  const readTenants = async (ids: string[]) => {
    const found: { tenant: string; questionId: string; traceId: string; createdAt: number }[] = [];
    for (const page of pagesOf(ids)) {
      const fields = ['tag', 'traceId', 'createdAt'];
      const records = asList(await client.run(scripts.READ_QUESTION_FIELDS, page.map(keys.record), fields)).map(asList);
      for (const [n, questionId] of page.entries()) {
        const [tag, traceId, createdAt] = records[n] ?? [];
        if (typeof tag !== 'string') continue;
        found.push({
          tenant: decodeURIComponent(tag),
          questionId,
          traceId: asText(traceId),
          createdAt: asNumber(createdAt),
        });
      }
    }
    return found;
  };
  const drop = (questionId: string): Promise<unknown> => client.run(scripts.DROP_QUESTION, keysOf(questionId), [questionId]);

  return {
    async createQuestion(
      { questionId, tenant, traceId, asked, createdAt }: Parameters<QuestionLedger['createQuestion']>[0],
      { maxBacklog, maxOfTenant = maxBacklog, idempotency }: Parameters<QuestionLedger['createQuestion']>[1],
    ): Promise<{ question: Question; isNew: boolean; ahead: number }> {
      const tag = tenantTag(tenant);
      const kept = idempotency ? [`${tag}/${idempotency.key}`, idempotency.digest, idempotency.keepUntil] : ['', '', ''];
      const record = ['traceId', traceId, 'asked', JSON.stringify(asked)];
      const args = [questionId, randomUUID(), tag, createdAt, maxBacklog, ...kept, maxOfTenant, ...record];
      for (;;) {
        const [outcome, id, ahead] = asList(await client.run(scripts.CREATE_QUESTION, keysOf(questionId), args));
        if (outcome === 'full') throw new SightlineError('question_backlog_full');
        if (outcome === 'reused') throw new SightlineError('idempotency_key_reused');
        if (outcome === 'foreign') throw new SightlineError('internal', 'A question of that id is of another tenant.');
        const question = await read(asText(id));
        // Dropped since: its key is free again.
        if (question) return { question, isNew: outcome === 'new', ahead: asNumber(ahead) };
      }
    },

    async getQuestion(tenant: string, questionId: string): Promise<Question | null> {
      const question = await read(questionId);
      return question?.tenant === tenant ? question : null;
    },

    async listQuestions(
      tenant: string,
      { status, after, limit }: Parameters<QuestionLedger['listQuestions']>[1],
    ): Promise<{ questions: Question[]; nextCursor: string | null }> {
      const statuses = status ? [status] : STATUSES;
      const args = [tenantTag(tenant), placeOf(after), limit + 1, ...statuses];
      const places = asList(await client.run(scripts.LIST_QUESTIONS, keys.shared, args)).map(asText);
      const page = places.slice(0, limit).map((place) => ({ at: Number(place.slice(0, 16)), id: place.slice(17) }));
      const questions = await readAll(page.map(({ id }) => id));
      const last = page.at(-1);
      return {
        // It may have moved between the two readings.
        questions: questions.filter((question) => statuses.includes(question.status)),
        nextCursor: places.length > limit && last ? listCursor(last) : null,
      };
    },

    async takeQuestion(
      questionId: string,
      { token, claimMs, at }: { token: string; claimMs: number; at: number },
    ): Promise<Question | null> {
      const reply = await client.run(scripts.TAKE_QUESTION, keysOf(questionId), [questionId, token, claimMs, at]);
      return reply === null ? null : toQuestion(questionId, asFields(reply));
    },

    async renewQuestion(
      questionId: string,
      { token, claimMs, at }: { token: string; claimMs: number; at: number },
    ): Promise<'held' | 'cancelled' | 'lost'> {
      const reply = await client.run(scripts.RENEW_QUESTION, keysOf(questionId), [questionId, token, claimMs, at]);
      return asText(reply) as 'held' | 'cancelled' | 'lost';
    },

    async giveBackQuestion(questionId: string, token: string): Promise<void> {
      await client.run(scripts.GIVE_BACK_QUESTION, keysOf(questionId), [questionId, token]);
    },

    async addQuestionEvents(questionId: string, token: string, events: QuestionEventData[]): Promise<boolean> {
      const args = [questionId, token, randomUUID(), ...events.map((event) => JSON.stringify(event))];
      return (await client.run(scripts.ADD_QUESTION_EVENTS, keysOf(questionId), args)) === 1;
    },

    async questionEvents(
      tenant: string,
      questionId: string,
      { after, limit }: { after: number; limit: number },
    ): Promise<StoredQuestionEvent[]> {
      if (limit <= 0) return [];
      const args = [questionId, tenantTag(tenant), after, limit];
      const events = asList(await client.run(scripts.READ_QUESTION_EVENTS, keysOf(questionId), args)).map(asText);
      // Written by addQuestionEvents and what ends a question.
      return events.map((json, n) => ({ seq: after + n + 1, data: JSON.parse(json) as QuestionEventData }));
    },

    async finishQuestion(questionId: string, token: string, end: QuestionEnd): Promise<{ deliveryIds: string[] } | null> {
      const { status, at, message } = end;
      const outcome = end.status === 'answered' ? ['result', JSON.stringify(end.result)] : ['error', JSON.stringify(end.error)];
      const events = [...end.events, doneEvent(status, message.messageId)].map((event) => JSON.stringify(event));
      const cited = end.status === 'answered' ? [...new Set(end.citedAssets)].map(assetTag) : [];
      const prompt = end.status === 'answered' && end.prompt ? packedPrompt(end.prompt) : '';
      const told = [prompt, events.length, ...events, cited.length, ...cited, ...messageArguments(message)];
      const args = [questionId, token, randomUUID(), at, status, ...outcome, ...told];
      return deliveriesOf(await client.run(scripts.FINISH_QUESTION, [...keysOf(questionId), ...outbox], args));
    },

    async cancelQuestion(
      tenant: string,
      questionId: string,
      { eventId, at }: { eventId: string; at: number },
    ): Promise<QuestionStatus | null> {
      const args = [questionId, tenantTag(tenant), at, JSON.stringify(doneEvent('cancelled', eventId))];
      const reply = await client.run(scripts.CANCEL_QUESTION, keysOf(questionId), args);
      return reply === null ? null : (asText(reply) as QuestionStatus);
    },

    async owedQuestions({ at, limit }: { at: number; limit: number }) {
      if (limit <= 0) return [];
      return readTenants(asList(await client.run(scripts.OWED_QUESTIONS, keys.shared, [at, limit])).map(asText));
    },

    async questionBacklog(): Promise<{ queued: number; running: number; oldestCreatedAt: number | null }> {
      const [queued, running, oldest] = asList(await client.run(scripts.COUNT_QUESTIONS, keys.shared, []));
      return {
        queued: asNumber(queued),
        running: asNumber(running),
        oldestCreatedAt: oldest === '' ? null : asNumber(oldest),
      };
    },

    async questionsCiting(tenant: string, assetId: string, limit: number): Promise<string[]> {
      const prefix = `${tenantTag(tenant)}/${assetTag(assetId)}`;
      const range = [`[${prefix}/`, `(${prefix}0`, 'BYLEX', 'LIMIT', 0, limit] as const;
      return asList(await client.call('zrange', citing, ...range)).map((member) => asText(member).slice(prefix.length + 1));
    },

    async markStale(questionId: string, message: OutboxMessage, at: number): Promise<{ deliveryIds: string[] } | null> {
      const args = [questionId, randomUUID(), at, ...messageArguments(message)];
      return deliveriesOf(await client.run(scripts.MARK_STALE, [...keysOf(questionId), ...outbox], args));
    },

    async recheckQuestions(limit: number): Promise<{ tenant: string; questionId: string }[]> {
      if (limit <= 0) return [];
      const ids = asList(await client.call('zrange', recheck, 0, limit - 1)).map(asText);
      return (await readTenants(ids)).map(({ tenant, questionId }) => ({ tenant, questionId }));
    },

    async settleRecheck(questionId: string): Promise<void> {
      await client.call('zrem', recheck, questionId);
    },

    async pruneQuestions({
      before,
      reviewedBefore,
      at,
      limit,
    }: Parameters<QuestionLedger['pruneQuestions']>[0]): Promise<{ tenant: string; questionId: string }[]> {
      await client.run(scripts.PRUNE_KEPT, keys.shared, [at, limit]);
      const endedIn = async (set: string, time: number, most: number): Promise<string[]> =>
        asList(await client.call('zrange', set, '-inf', `(${time}`, 'BYSCORE', 'LIMIT', 0, most)).map(asText);
      const ids = await endedIn(finished, before, limit);
      if (ids.length < limit) ids.push(...(await endedIn(reviewed, reviewedBefore, limit - ids.length)));
      const tenants = new Map((await readTenants(ids)).map(({ tenant, questionId }) => [questionId, tenant]));
      const dropped: { tenant: string; questionId: string }[] = [];
      for (const page of pagesOf(ids)) {
        const replies = await Promise.all(
          page.map((id) => client.run(scripts.PRUNE_QUESTION, keysOf(id), [id, before, reviewedBefore])),
        );
        for (const [n, questionId] of page.entries()) {
          const tenant = tenants.get(questionId);
          if (tenant !== undefined && replies[n] !== 'kept') dropped.push({ tenant, questionId });
        }
      }
      return dropped;
    },

    /** Some at a time, the oldest first: who repeats it after an error drops the rest. */
    async dropQuestionsOf(tenant: string, createdUpTo: number): Promise<void> {
      const upTo = String(Math.min(createdUpTo, Number.MAX_SAFE_INTEGER)).padStart(16, '0');
      for (const status of STATUSES) {
        const prefix = `${tenantTag(tenant)}/${status}/`;
        for (let dropped = PAGE; dropped === PAGE;) {
          const range = [`[${prefix}`, `(${prefix}${upTo}0`, 'BYLEX', 'LIMIT', 0, PAGE] as const;
          const ids = asList(await client.call('zrange', keys.shared[0] ?? '', ...range)).map((member) =>
            asText(member).slice(prefix.length + 17),
          );
          await Promise.all(ids.map(drop));
          dropped = ids.length;
        }
      }
    },
  };
}

function pagesOf(ids: string[]): string[][] {
  return Array.from({ length: Math.ceil(ids.length / PAGE) }, (_, n) => ids.slice(n * PAGE, (n + 1) * PAGE));
}

function assetTag(assetId: string): string {
  return encodeURIComponent(assetId);
}

function placeOf(cursor: string | undefined): string {
  if (cursor === undefined) return '';
  const { at, id } = listPlace(cursor);
  return `${String(at).padStart(16, '0')}/${id}`;
}

function doneEvent(status: 'answered' | 'failed' | 'cancelled', eventId: string): QuestionEventData {
  return { type: 'done', status, eventId };
}

function deliveriesOf(reply: unknown): { deliveryIds: string[] } | null {
  return reply === null ? null : { deliveryIds: asList(reply).map(asText) };
}

export function toQuestion(questionId: string, fields: Map<string, string>): Question | null {
  if (fields.size === 0) return null;
  const timeOf = (name: string): number | null => (fields.has(name) ? asNumber(fields.get(name)) : null);
  const result = fields.get('result');
  const error = fields.get('error');
  return {
    questionId,
    tenant: decodeURIComponent(asText(fields.get('tag'))),
    traceId: asText(fields.get('traceId')),
    asked: askedQuestion.parse(JSON.parse(asText(fields.get('asked')))),
    status: asText(fields.get('status')) as QuestionStatus,
    createdAt: asNumber(fields.get('createdAt')),
    startedAt: timeOf('startedAt'),
    finishedAt: timeOf('finishedAt'),
    attempts: asNumber(fields.get('attempts')),
    result: result === undefined ? null : questionResult.parse(JSON.parse(result)),
    // Written by finishQuestion.
    error: error === undefined ? null : (JSON.parse(error) as Question['error']),
    staleAt: timeOf('staleAt'),
  };
}
