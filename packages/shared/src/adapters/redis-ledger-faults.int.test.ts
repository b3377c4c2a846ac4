import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { openRedisServer, ownRedisMissing, type RedisServer } from '../../testing/redis-server.ts';
import type { Ledger } from '../ports/ledger.ts';
import { mulberry32 } from '../runtime/mulberry32.ts';
import { RedisLedger, type RedisLedgerOptions } from './redis-ledger.ts';

const SOURCE = { type: 'directory', path: '/pictures' } as const;
const NOTHING = { indexed: 0, unchanged: 0, duplicate: 0, failures: [] };
const ENTRIES = Array.from({ length: 64 }, (_, n) => ({
  object: { bucket: '/pictures', key: `catalogue/${n}.jpg`, eTag: `e${n}`, sizeBytes: n },
}));

let server: RedisServer;
/** The operator's own connection. */
let admin: Redis;
let prefix: string;
const opened: RedisLedger[] = [];

async function open(more: Partial<RedisLedgerOptions> = {}): Promise<RedisLedger> {
  const ledger = await RedisLedger.open({ url: server.url, prefix, ...more });
  opened.push(ledger);
  return ledger;
}

const addChunk = (ledger: Ledger, chunkNo: number, more: Partial<Parameters<Ledger['addChunk']>[1]> = {}) =>
  ledger.addChunk('i1', {
    chunkNo,
    entries: ENTRIES,
    listed: 64,
    failures: [],
    after: chunkNo === 0 ? null : `c${chunkNo - 1}`,
    cursor: `c${chunkNo}`,
    at: 10 + chunkNo,
    ...more,
  });

const create = (ledger: Ledger) => ledger.createIngestion({ ingestionId: 'i1', tenant: 't', source: SOURCE, createdAt: 1 });

if (ownRedisMissing) test.skip(`RedisLedger under faults: ${ownRedisMissing}`, () => undefined);
else
  describe('RedisLedger under faults', () => {
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

    test('nothing that was answered is lost when Redis is killed in mid-use, three times', async () => {
      const ledger = await open({ commandTimeoutMs: 2_000 });
      await create(ledger);
      const random = mulberry32(7);
      const owed = new Set<number>();
      let lastVersion = 0;
      let nextChunkNo = 0;
      let completed = 0;
      for (let round = 0; round < 3; round++) {
        let killAfter = 10 + Math.floor(10 * random());
        let dies: Promise<void> | undefined;
        // Until the first call that is not answered; what it did, nobody knows.
        for (let lost = false; !lost;) {
          if (killAfter-- === 0) dies = server.kill?.();
          try {
            await addChunk(ledger, nextChunkNo);
            owed.add(nextChunkNo++);
            const { version } = await ledger.leaseKeys([`k${nextChunkNo}`], { ttlMs: 10 });
            expect(version).toBeGreaterThan(lastVersion);
            lastVersion = version;
            const [oldest] = owed;
            if (oldest === undefined || random() < 0.5) continue;
            owed.delete(oldest);
            await ledger.completeChunk('i1', oldest, { ...NOTHING, indexed: 64 }, 20);
            completed++;
          } catch (error) {
            expect(error).toMatchObject({ code: 'ledger_unavailable' });
            lost = true;
          }
        }
        await dies;
        await server.start?.();
        await admin.ping();
        // What was under way may be there: the repeating caller asks and goes on from it.
        const found = await ledger.getIngestion('t', 'i1');
        expect([nextChunkNo, nextChunkNo + 1]).toContain(found?.nextChunkNo);
        if (found?.nextChunkNo === nextChunkNo + 1) owed.add(nextChunkNo++);
        const there = new Set(
          (await ledger.outstandingChunks({ ingestionId: 'i1', limit: 10_000 })).map((chunk) => chunk.chunkNo),
        );
        for (const chunkNo of owed) expect(there).toContain(chunkNo);
        // At most the one completion whose answer was lost is not done.
        expect(there.size - owed.size).toBeLessThanOrEqual(1);
        for (const chunkNo of there) owed.add(chunkNo);
        completed = nextChunkNo - owed.size;
        expect(found?.counts).toMatchObject({ listed: 64 * nextChunkNo, indexed: 64 * completed });
        expect(await ledger.countOutstandingChunks({ tenant: 't' })).toBe(owed.size);
        expect(await ledger.countOutstandingChunks()).toBe(owed.size);
      }
      expect(nextChunkNo).toBeGreaterThan(20);
    }, 60_000);

    test('a Redis that is away is unavailable in bounded time, and is used again when it is back', async () => {
      const ledger = await open({ commandTimeoutMs: 1_000 });
      await create(ledger);
      await server.stop?.();
      for (const call of [
        () => ledger.getIngestion('t', 'i1'),
        () => addChunk(ledger, 0),
        () => ledger.leaseKeys(['k'], { ttlMs: 9 }),
      ]) {
        const startedAt = performance.now();
        await expect(call()).rejects.toMatchObject({ code: 'ledger_unavailable', retryable: true });
        expect(performance.now() - startedAt).toBeLessThan(1_500);
      }
      const startedAt = performance.now();
      await expect(RedisLedger.open({ url: server.url, prefix, commandTimeoutMs: 1_000 })).rejects.toMatchObject({
        code: 'ledger_unavailable',
      });
      expect(performance.now() - startedAt).toBeLessThan(1_500);
      await server.start?.();
      await admin.ping();
      await addChunk(ledger, 0);
      expect(await ledger.getIngestion('t', 'i1')).toMatchObject({ nextChunkNo: 1 });
    });

    test('what was done while its caller saw a time-out is not done twice when it is repeated', async () => {
      const failures = [{ key: 'a', code: 'picture_corrupt' as const, reason: 'r' }];
      /** `twice` makes a call whose answer comes too late, though it is done, and answers what the repetition says. */
      const scenario = async (ledger: Ledger, twice: <T>(call: () => Promise<T>) => Promise<T>) => {
        await create(ledger);
        await addChunk(ledger, 0);
        await addChunk(ledger, 1);
        await twice(() => addChunk(ledger, 2, { failures, listed: 65 }));
        expect(await twice(() => ledger.addSuspect('i1', 0, 'a'))).toBe(true);
        const completed = await twice(() => ledger.completeChunk('i1', 0, { ...NOTHING, indexed: 64, failures }, 20));
        await twice(() => ledger.finishPlanning('i1'));
        const found = await ledger.getIngestion('t', 'i1');
        expect(found).toMatchObject({ nextChunkNo: 3, counts: { listed: 193, indexed: 64, failed: 2 } });
        expect((await ledger.failures('i1', { limit: 9 })).failures).toMatchObject([{ key: 'a', attempts: 2 }]);
        expect(await ledger.countOutstandingChunks({ tenant: 't' })).toBe(2);
        await ledger.setStatus('i1', ['planning'], 'completed', { at: 30 });
        expect(await twice(() => ledger.reopen('i1', 'again', 31))).toBe(1);
        const { busy } = await twice(() => ledger.leaseKeys(['k'], { ttlMs: 60_000 }));
        return { completed, busy };
      };
      // Redis has to know the scripts, or a late call is only asked for them.
      expect(await scenario(await open({ prefix: `${prefix}-first` }), (call) => call())).toEqual({ completed: true, busy: [] });
      const late = await scenario(await open({ commandTimeoutMs: 150 }), async (call) => {
        await admin.call('CLIENT', 'PAUSE', '400', 'ALL');
        await expect(call()).rejects.toMatchObject({ code: 'ledger_unavailable' });
        await admin.ping();
        return call();
      });
      // Completed before; and the lease that nobody heard of holds until it runs out: never two holders.
      expect(late).toEqual({ completed: false, busy: ['k'] });
    });

    test('at maxmemory new work is refused, and what is owed is still done, which makes room', async () => {
      const ledger = await open();
      await create(ledger);
      for (let chunkNo = 0; chunkNo < 20; chunkNo++) await addChunk(ledger, chunkNo);
      const { token } = await ledger.leaseKeys(['k0'], { ttlMs: 60_000 });
      await admin.config('SET', 'maxmemory', '1mb');
      try {
        for (const call of [
          () => addChunk(ledger, 20),
          () => ledger.createIngestion({ ingestionId: 'i2', tenant: 't', source: SOURCE, createdAt: 2 }),
          () => ledger.putSetting('a', 'b'),
        ]) {
          await expect(call()).rejects.toMatchObject({ code: 'ledger_full', retryable: true });
        }
        expect(await ledger.getIngestion('t', 'i2')).toBeNull();
        expect((await ledger.takeChunk('i1', 0))?.entries).toEqual(ENTRIES);
        expect(await ledger.addSuspect('i1', 0, 'a')).toBe(true);
        expect((await ledger.leaseKeys(['k1'], { ttlMs: 1_000 })).granted).toEqual(['k1']);
        expect(await ledger.renewKeys(token, { ttlMs: 1_000 })).toBe(true);
        await ledger.releaseKeys(token);
        await ledger.giveBackChunk('i1', 0);
        const failures = [{ key: 'a', code: 'picture_corrupt' as const, reason: 'r' }];
        expect(await ledger.completeChunk('i1', 0, { ...NOTHING, indexed: 63, failures }, 20)).toBe(true);
        expect(await ledger.setHold('i1', 'user', { at: 20 })).toBe(true);
        expect(await ledger.setStatus('i1', ['paused'], 'cancelled', { at: 21 })).toBe(true);
        expect(await ledger.countOutstandingChunks()).toBe(0);
        expect(await ledger.deleteTenant('t')).toEqual({ ingestions: 1, failures: 1, apiKeys: 0 });
      } finally {
        await admin.config('SET', 'maxmemory', '0');
      }
      await create(ledger);
      await addChunk(ledger, 0);
      expect(await ledger.countOutstandingChunks()).toBe(1);
    });

    test('of eight racing writers on two connections each chunk is counted once, each key held by one, each version larger', async () => {
      const ledgers = [await open(), await open()];
      const [first] = ledgers;
      if (!first) throw new Error('none');
      await create(first);
      const chunks = 60;
      for (let chunkNo = 0; chunkNo < chunks; chunkNo++) await addChunk(first, chunkNo);
      const holders = new Map<string, number>();
      let counted = 0;
      const failedKeys = new Set<string>();
      await Promise.all(
        Array.from({ length: 8 }, async (_, writer) => {
          const ledger = ledgers[writer % 2];
          if (!ledger) throw new Error('none');
          const random = mulberry32(100 + writer);
          let lastVersion = 0;
          for (let turn = 0; turn < 60; turn++) {
            const wanted = [0, 1, 2].map(() => `k${Math.floor(6 * random())}`);
            const lease = await ledger.leaseKeys(wanted, { ttlMs: 60_000 });
            expect(lease.version).toBeGreaterThan(lastVersion);
            lastVersion = lease.version;
            for (const key of lease.granted) {
              expect(holders.get(key)).toBeUndefined();
              holders.set(key, writer);
            }
            const chunkNo = Math.floor(chunks * random());
            const taken = await ledger.takeChunk('i1', chunkNo);
            if (taken && random() < 0.3) await ledger.giveBackChunk('i1', chunkNo);
            else if (taken) {
              const key = `picture-${Math.floor(40 * random())}`;
              const failures = [{ key, code: 'picture_corrupt' as const, reason: 'r' }];
              if (await ledger.completeChunk('i1', chunkNo, { ...NOTHING, indexed: 63, failures }, 20)) {
                counted++;
                failedKeys.add(key);
              }
            }
            for (const key of lease.granted) holders.delete(key);
            await ledger.releaseKeys(lease.token);
          }
        }),
      );
      const { counts } = (await first.getIngestion('t', 'i1')) ?? {};
      expect(counts).toEqual({ listed: 64 * chunks, indexed: 63 * counted, unchanged: 0, duplicate: 0, failed: counted });
      expect(counted).toBeGreaterThan(chunks / 2);
      const { failures } = await first.failures('i1', { limit: 1_000 });
      expect(new Set(failures.map(({ key }) => key))).toEqual(failedKeys);
      expect(failures.reduce((sum, { attempts }) => sum + attempts, 0)).toBe(counted);
      expect(await first.countOutstandingChunks({ tenant: 't' })).toBe(chunks - counted);
      expect(await admin.hlen(`{${prefix}:lease}:holders`)).toBe(0);
    }, 30_000);

    test('versions grow past a Redis that lost everything', async () => {
      const ledger = await open();
      const versions = [(await ledger.leaseKeys(['k'], { ttlMs: 9 })).version];
      for (let n = 0; n < 500; n++) versions.push((await ledger.leaseKeys([], { ttlMs: 9 })).version);
      await admin.flushall();
      // The clock speaks in milliseconds: nobody loses a Redis and has another within one.
      await new Promise((resolve) => setTimeout(resolve, 5));
      versions.push((await ledger.leaseKeys(['k'], { ttlMs: 9 })).version);
      expect(versions).toEqual([...new Set(versions)].toSorted((a, b) => a - b));
      expect(versions.every(Number.isSafeInteger)).toBe(true);
    });

    test('leases that ran out by the clock of Redis are free again and leave nothing behind', async () => {
      const ledger = await open();
      const lease = await ledger.leaseKeys(['a', 'b'], { ttlMs: 30 });
      await new Promise((resolve) => setTimeout(resolve, 60));
      expect(await ledger.renewKeys(lease.token, { ttlMs: 30 })).toBe(false);
      const next = await ledger.leaseKeys(['a'], { ttlMs: 60_000 });
      expect(next.granted).toEqual(['a']);
      // A late release by the one who lost it takes nothing from the next.
      await ledger.releaseKeys(lease.token);
      expect((await ledger.leaseKeys(['a'], { ttlMs: 9 })).busy).toEqual(['a']);
      await ledger.releaseKeys(next.token);
      expect(await admin.keys(`{${prefix}:lease}:*`)).toEqual([`{${prefix}:lease}:version`]);
    });

    test('more leases than are cleared at once ran out: their keys are free, and a late release takes nothing from the next', async () => {
      let now = 1_000;
      const ledger = await open({ now: () => now });
      for (let n = 0; n < 150; n++) await ledger.leaseKeys([`k${n}`], { ttlMs: 100 });
      const late = await ledger.leaseKeys(['z'], { ttlMs: 200 });
      now = 3_000;
      const next = await ledger.leaseKeys(['z'], { ttlMs: 60_000 });
      expect(next.granted).toEqual(['z']);
      await ledger.releaseKeys(late.token);
      expect((await ledger.leaseKeys(['z'], { ttlMs: 60_000 })).busy).toEqual(['z']);
    });

    test('a Redis without our scripts gets them again', async () => {
      const ledger = await open();
      await create(ledger);
      await admin.script('FLUSH');
      await addChunk(ledger, 0);
      expect((await ledger.takeChunk('i1', 0))?.entries).toEqual(ENTRIES);
    });

    test('a primary that has become a replica is unavailable', async () => {
      const ledger = await open();
      await create(ledger);
      await admin.call('REPLICAOF', '127.0.0.1', '1');
      try {
        await expect(addChunk(ledger, 0)).rejects.toMatchObject({ code: 'ledger_unavailable' });
        await expect(ledger.putSetting('a', 'b')).rejects.toMatchObject({ code: 'ledger_unavailable' });
      } finally {
        await admin.call('REPLICAOF', 'NO', 'ONE');
      }
      await addChunk(ledger, 0);
    });

    test('many chunks that are owed are read in pages, oldest first, also of those added at once', async () => {
      const ledger = await open();
      await create(ledger);
      for (let chunkNo = 0; chunkNo < 1_100; chunkNo++)
        await addChunk(ledger, chunkNo, { entries: [{}], at: 10 + (chunkNo >> 10) });
      for (const ingestionId of [undefined, 'i1']) {
        const owed = await ledger.outstandingChunks({ ingestionId, limit: 1_050 });
        expect(owed.map(({ chunkNo }) => chunkNo)).toEqual(Array.from({ length: 1_050 }, (_, n) => n));
      }
    }, 30_000);

    test('an ingestion that is dropped leaves no key behind, a completed one only its record and its failures', async () => {
      const ledger = await open();
      await create(ledger);
      await addChunk(ledger, 0, { failures: [{ key: 'a', code: 'picture_corrupt', reason: 'r' }] });
      await ledger.takeChunk('i1', 0);
      await ledger.addSuspect('i1', 0, 'a');
      await ledger.completeChunk('i1', 0, NOTHING, 20);
      const left = async () =>
        (await admin.keys(`{${prefix}:flow}:ingestion:*`)).map((key) => key.slice(key.lastIndexOf(':') + 1)).toSorted();
      expect(await left()).toEqual(['failures', 'failures-order', 'record']);
      await ledger.deleteTenant('t');
      expect(await admin.keys(`{${prefix}:flow}:*`)).toEqual([]);
    });

    test('a ledger of a newer format is refused untouched, with what to do', async () => {
      await (await open()).putSetting('a', 'b');
      await admin.set(`{${prefix}:access}:format`, 9);
      await expect(RedisLedger.open({ url: server.url, prefix })).rejects.toMatchObject({
        code: 'store_format_unsupported',
        detail: expect.stringContaining('another prefix'),
      });
      expect(await admin.get(`{${prefix}:access}:format`)).toBe('9');
    });

    test('settings under which Redis may lose the ledger are warned of; who may not ask is let in', async () => {
      const warnings: unknown[] = [];
      const logger = { warn: (about: unknown) => void warnings.push(about), debug: () => undefined };
      await open({ logger });
      expect(warnings).toEqual([]);
      await admin.config('SET', 'appendfsync', 'everysec');
      await admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
      await admin.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '+@all', '-config');
      try {
        await open({ logger });
        expect(warnings).toMatchObject([{ setting: 'appendfsync' }, { setting: 'maxmemory-policy' }]);
        await open({ logger, url: server.url.replace('redis://', 'redis://app:secret@') });
        expect(warnings).toHaveLength(2);
        await expect(open({ url: server.url.replace('redis://', 'redis://app:wrong@') })).rejects.toMatchObject({
          code: 'ledger_unavailable',
          detail: expect.stringContaining('password'),
        });
      } finally {
        await admin.config('SET', 'appendfsync', 'always');
        await admin.config('SET', 'maxmemory-policy', 'noeviction');
      }
    });

    test('a place that is none is said by name', async () => {
      for (const bad of [{ url: 'http://localhost' }, { url: 'nonsense' }, { prefix: '' }, { prefix: 'a{b}' }]) {
        await expect(open(bad)).rejects.toMatchObject({ code: 'config_invalid' });
      }
    });
  });
