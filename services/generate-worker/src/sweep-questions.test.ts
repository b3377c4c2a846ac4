import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { LocalObjectStore } from '@sightline/shared/adapters/local-object-store';
import { SqliteLedger } from '@sightline/shared/adapters/sqlite-ledger';
import { newId, questionPictureKey, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import type { JobData } from '@sightline/shared/contracts/jobs';
import { newAsked, newMessage, newResult, newReview } from '@sightline/shared/testing/question-builder';
import { failedMessage } from '@sightline/shared/webhooks/outbox-messages';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { driveOwedQuestions, pruneQuestions } from './core/sweep-questions.ts';

const HOUR_MS = 3_600_000;
const KEPT = { keepMs: 24 * HOUR_MS, keepReviewedMs: 90 * 24 * HOUR_MS, giveUpAfterMs: 7 * 24 * HOUR_MS };
let folder: string;
let ledger: SqliteLedger;
let store: LocalObjectStore;
let clockMs: number;

beforeEach(async () => {
  clockMs = Date.now();
  folder = await mkdtemp(join(tmpdir(), 'sightline-sweep-'));
  ledger = await SqliteLedger.open({ file: join(folder, 'ledger.db') });
  store = new LocalObjectStore({ dataDir: join(folder, 'data'), now: () => clockMs });
});

afterEach(async () => {
  await ledger.close();
  await rm(folder, { recursive: true, force: true });
});

const place = (questionId: string) => ({ bucket: SYSTEM_BUCKET, key: questionPictureKey('default', questionId) });

async function ask(): Promise<string> {
  const questionId = newId();
  const { bucket, key } = place(questionId);
  await store.put({ bucket, key }, Buffer.from('a picture'), { contentType: 'image/png' });
  const asked = newAsked({ picture: { key } });
  const question = { questionId, tenant: 'default', traceId: 'trace', asked, createdAt: clockMs };
  await ledger.createQuestion(question, { maxBacklog: 10 });
  return questionId;
}

async function end(questionId: string): Promise<void> {
  const question = await ledger.takeQuestion(questionId, { token: 'mine', claimMs: 1_000, at: clockMs });
  if (!question) throw new Error('It is not to be had.');
  const error = { code: 'internal' as const, detail: null };
  const message = failedMessage(question, error, clockMs);
  await ledger.finishQuestion(questionId, 'mine', { status: 'failed', error, at: clockMs, events: [], message });
}

const prune = () => pruneQuestions({ ledger, store, now: () => clockMs }, KEPT);

test('what ended longer ago than it is kept goes with its picture, and what was left over goes by its age', async () => {
  const questionId = await ask();
  const leftOver = place(newId());
  await store.put(leftOver, Buffer.from('a picture'), { contentType: 'image/png' });
  await end(questionId);
  clockMs += KEPT.keepMs - 1_000;
  expect(await prune()).toBe(0);
  expect(await store.head(place(questionId))).not.toBeNull();
  clockMs += 2_000;
  expect(await prune()).toBe(1);
  expect(await ledger.getQuestion('default', questionId)).toBeNull();
  expect(await store.head(place(questionId))).toBeNull();
  expect(await store.head(leftOver)).not.toBeNull();
  // However long reviewed answers are kept.
  clockMs += KEPT.giveUpAfterMs;
  expect(await prune()).toBe(0);
  expect(await store.head(leftOver)).toBeNull();
});

test('a reviewed answer stays for its longer time, with its picture, however often it is reviewed', async () => {
  const questionId = await ask();
  await ledger.takeQuestion(questionId, { token: 'mine', claimMs: 1_000, at: clockMs });
  const told = { at: clockMs, events: [], message: newMessage('m1', { tenant: 'default' }), citedAssets: [] };
  await ledger.finishQuestion(questionId, 'mine', { status: 'answered', result: newResult(), ...told });
  await ledger.putReview('default', questionId, newReview({ reviewer: 'ann', reviewedAt: clockMs }));
  clockMs += KEPT.keepReviewedMs - HOUR_MS;
  await ledger.putReview('default', questionId, newReview({ reviewer: 'bob', reviewedAt: clockMs }));
  expect(await prune()).toBe(0);
  expect(await store.head(place(questionId))).not.toBeNull();
  clockMs += 2 * HOUR_MS;
  expect(await prune()).toBe(1);
  expect(await ledger.getQuestion('default', questionId)).toBeNull();
  expect(await store.head(place(questionId))).toBeNull();
});

test('a question that waits for long keeps its picture, and so does its answer for its time', async () => {
  const questionId = await ask();
  clockMs += KEPT.giveUpAfterMs - HOUR_MS;
  await prune();
  expect(await store.head(place(questionId))).not.toBeNull();
  await end(questionId);
  clockMs += KEPT.keepMs - HOUR_MS;
  await prune();
  expect(await store.head(place(questionId))).not.toBeNull();
});

test('what is owed is added again: what waits, and what runs under a claim that is over', async () => {
  const [waiting, running, lapsed, over] = [await ask(), await ask(), await ask(), await ask()];
  await ledger.takeQuestion(running, { token: 'one', claimMs: 30_000, at: clockMs });
  await ledger.takeQuestion(lapsed, { token: 'two', claimMs: 500, at: clockMs });
  await end(over);
  clockMs += 1_000;
  const jobs: JobData<'answer'>[] = [];
  const enqueue = async (job: JobData<'answer'>): Promise<void> => void jobs.push(job);
  expect(await driveOwedQuestions({ ledger, enqueue, now: () => clockMs })).toBe(2);
  expect(jobs.map(({ questionId }) => questionId).sort()).toEqual([waiting, lapsed].sort());
  expect(jobs[0]).toMatchObject({ tenant: 'default', traceId: 'trace' });
});
