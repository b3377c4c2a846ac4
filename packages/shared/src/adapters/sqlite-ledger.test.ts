import { expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ledgerContract } from '../../testing/ledger-contract.ts';
import { newAsked, newMessage, newResult, newWebhook } from '../../testing/question-builder.ts';
import { SqliteLedger } from './sqlite-ledger.ts';

ledgerContract(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-ledger-'));
  let now = 0;
  const open = () => SqliteLedger.open({ file: join(folder, 'ledger.db'), now: () => now });
  return {
    ledger: await open(),
    setNow: (at) => {
      now = at;
    },
    openAgain: open,
    close: () => rm(folder, { recursive: true }),
  };
});

test('an index file is refused as a ledger', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-ledger-'));
  try {
    const db = new DatabaseSync(join(folder, 'other.db'));
    db.exec('CREATE TABLE points (id INTEGER)');
    db.close();
    await expect(SqliteLedger.open({ file: join(folder, 'other.db') })).rejects.toMatchObject({
      code: 'store_format_unsupported',
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a file of format 2 is opened with all it holds, and does what is new', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-ledger-'));
  const file = join(folder, 'ledger.db');
  try {
    const old = new DatabaseSync(file);
    old.exec(await readFile(new URL('../../testing/ledger-format-2.sql', import.meta.url), 'utf8'));
    old.close();
    const ledger = await SqliteLedger.open({ file, now: () => 5_500 });
    try {
      expect(await ledger.getIngestion('t', 'i1')).toMatchObject({
        hold: null,
        nextChunkNo: 1,
        counts: { listed: 2, failed: 1 },
      });
      expect(await ledger.getIngestion('t', 'i2')).toMatchObject({ dryRun: true, status: 'completed', finishedAt: 20 });
      expect((await ledger.takeChunk('i1', 0))?.attempts).toBe(2);
      expect(await ledger.addSuspect('i1', 0, 'a.png')).toBe(false);
      const lease = await ledger.leaseKeys(['k'], { ttlMs: 10 });
      expect([lease.busy, lease.version > 5_000]).toEqual([['k'], true]);
      expect(await ledger.getSetting('pack')).toBe('starter');
      expect((await ledger.failures('i1', { limit: 9 })).failures).toMatchObject([{ key: 'b.png', attempts: 1 }]);
      expect(await ledger.setHold('i1', 'user', { at: 30 })).toBe(true);
      expect(await ledger.listApiKeys(null)).toEqual([]);
      expect(await ledger.listAudits('t', { limit: 9 })).toEqual([]);
      expect((await ledger.listQuestions('t', { limit: 9 })).questions).toEqual([]);
      expect(await ledger.listWebhooks('t')).toEqual([]);
      expect(await ledger.setStatus('i1', ['paused'], 'cancelled', { at: 31 })).toBe(true);
      expect(await ledger.countOutstandingChunks()).toBe(0);
    } finally {
      await ledger.close();
    }
    const migrated = new DatabaseSync(file);
    expect(migrated.prepare('PRAGMA user_version').get()).toMatchObject({ user_version: 9 });
    migrated.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a file of format 6 is opened with all it holds, and takes questions and webhooks', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-ledger-'));
  const file = join(folder, 'ledger.db');
  try {
    const old = new DatabaseSync(file);
    old.exec(await readFile(new URL('../../testing/ledger-format-6.sql', import.meta.url), 'utf8'));
    old.close();
    const ledger = await SqliteLedger.open({ file });
    try {
      expect(await ledger.getIngestion('t', 'i1')).toMatchObject({
        status: 'paused',
        hold: 'user',
        counts: { listed: 2, failed: 1 },
      });
      expect(await ledger.findApiKey('h')).toMatchObject({ keyId: 'k1', scopes: ['read', 'ask'] });
      expect(await ledger.owedChanges(20)).toMatchObject([{ tenant: 't', owed: 1, oldestNoticedAt: 13 }]);
      expect(await ledger.getAudit('t', 'a1')).toMatchObject({ status: 'queued' });
      expect(await ledger.questionBacklog()).toEqual({ queued: 0, running: 0, oldestCreatedAt: null });
      await ledger.addWebhook(newWebhook('h1'), 1);
      const question = { questionId: 'q1', tenant: 't', traceId: 'x', asked: newAsked(), createdAt: 20 };
      expect(await ledger.createQuestion(question, { maxBacklog: 1 })).toMatchObject({ isNew: true });
      await ledger.takeQuestion('q1', { token: 'w', claimMs: 100, at: 21 });
      const ended = await ledger.finishQuestion('q1', 'w', {
        at: 22,
        events: [],
        message: newMessage('m1', { at: 22 }),
        status: 'answered',
        result: newResult(),
        citedAssets: ['a'],
      });
      const [delivery] = ended?.deliveryIds ?? [];
      expect(await ledger.takeDelivery(delivery!, { token: 'w', claimMs: 100, at: 22 })).toMatchObject({
        delivery: { webhookId: 'h1', sequence: 1 },
      });
      expect(await ledger.deleteTenant('t')).toEqual({ ingestions: 1, failures: 1, apiKeys: 1 });
      expect(await ledger.getQuestion('t', 'q1')).toBeNull();
    } finally {
      await ledger.close();
    }
    const migrated = new DatabaseSync(file);
    expect(migrated.prepare('PRAGMA user_version').get()).toMatchObject({ user_version: 9 });
    expect(migrated.prepare('PRAGMA foreign_key_check').all()).toEqual([]);
    migrated.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a question whose end breaks off in its last step has not ended at all', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-ledger-'));
  try {
    const ledger = await SqliteLedger.open({ file: join(folder, 'ledger.db') });
    try {
      await ledger.addWebhook(newWebhook('h1'), 1);
      const question = { questionId: 'q1', tenant: 't', traceId: 'x', asked: newAsked(), createdAt: 20 };
      await ledger.createQuestion(question, { maxBacklog: 1 });
      await ledger.takeQuestion('q1', { token: 'w', claimMs: 100, at: 21 });
      const end = { at: 22, events: [], status: 'answered' as const, result: newResult(), citedAssets: ['a'] };
      // The outbox comes last, and a message without data is refused by it.
      const broken = newMessage('m1', { data: null as unknown as string });
      await expect(ledger.finishQuestion('q1', 'w', { ...end, message: broken })).rejects.toThrow();
      expect(await ledger.getQuestion('t', 'q1')).toMatchObject({ status: 'running', result: null, finishedAt: null });
      expect(await ledger.questionEvents('t', 'q1', { after: 0, limit: 9 })).toEqual([]);
      expect(await ledger.questionsCiting('t', 'a', 9)).toEqual([]);
      expect(await ledger.recheckQuestions(9)).toEqual([]);
      expect(await ledger.unpublishedMessages(9)).toEqual([]);
      expect(await ledger.finishQuestion('q1', 'w', { ...end, message: newMessage('m1') })).toMatchObject({
        deliveryIds: [expect.any(String)],
      });
      expect((await ledger.listDeliveries('t', 'h1', { limit: 9 })).deliveries).toMatchObject([{ sequence: 1 }]);
    } finally {
      await ledger.close();
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
