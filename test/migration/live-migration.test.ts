import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { HashEncoder } from '@sightline/encode-worker/testing/hash-encoder';
import { openEmbeddedPostgres, type EmbeddedPostgres } from '@sightline/shared/adapters/embedded-postgres';
import { qdrantIndexVersions } from '@sightline/shared/adapters/qdrant-index-versions';
import { searchResponse } from '@sightline/shared/contracts/http';
import { migrationView } from '@sightline/shared/contracts/migration-http';
import type { IndexVersions } from '@sightline/shared/ports/index-versions';
import type { PointCopy } from '@sightline/shared/ports/vector-index';
import { openQdrantRoom, type QdrantRoom } from '@sightline/shared/testing/qdrant-room';
import { qdrantMissing } from '@sightline/shared/testing/qdrant-server';
import { freshName, MigrationRig } from '../harness/migration-rig.ts';
import { seeded } from '@sightline/shared/testing/seeded';

/** Most of it is what the machine does besides. */
const TIMEOUT_MS = 600_000;
const PICTURES = 80;

const dataDir = mkdtempSync(join(tmpdir(), 'sightline-migration-pg-'));
let postgres: EmbeddedPostgres;
beforeAll(async () => {
  postgres = await openEmbeddedPostgres({ dataDir }, { logger: pino({ level: 'silent' }) });
}, 60_000);
afterAll(async () => {
  await postgres.close();
  rmSync(dataDir, { recursive: true, force: true });
});

const oldPack = () => new HashEncoder({ name: 'old' });
const newPack = () => new HashEncoder({ name: 'new', image: 'new' });

describe('on the embedded index', () => {
  migrations(async () => ({}));
});

(qdrantMissing ? describe.skip : describe)(qdrantMissing ? `on Qdrant (${qdrantMissing})` : 'on Qdrant', () => {
  let room: QdrantRoom;
  beforeAll(async () => {
    room = await openQdrantRoom();
  }, 120_000);
  afterAll(() => room.close());
  migrations(async () => {
    const place = { url: room.server.url, ...(room.server.apiKey && { apiKey: room.server.apiKey }) };
    const versions = qdrantIndexVersions({ ...place, alias: room.newAlias() });
    room.onClear(() => versions.close());
    return { versions };
  });
  // After the rig's own, which the hooks of `migrations` close.
  afterEach(() => room.clear());
});

/** Of a point what must be equal in both versions. */
function essence({ vectors, ...rest }: PointCopy): unknown {
  return { ...rest, vectors: { image: vectors.image !== undefined, text: vectors.text && [...vectors.text] } };
}

function migrations(open: () => Promise<{ versions?: IndexVersions }>): void {
  let rig: MigrationRig;
  const openRig = async (): Promise<MigrationRig> => {
    const { versions } = await open();
    rig = await MigrationRig.open(await postgres.createDatabase(freshName()), versions);
    return rig;
  };
  afterEach(() => rig.close());

  const fill = async (): Promise<void> => {
    const lines: string[] = [];
    for (let i = 0; i < PICTURES; i++) {
      await rig.write(`p/${i}.png`, `picture ${i}`);
      const images = i % 10 === 9 ? [] : [`p/${i}.png`];
      lines.push(
        JSON.stringify({ item_id: `item-${i}`, title: `Thing number ${i}`, text: `First. Second of ${i}. Third.`, images }),
      );
    }
    await rig.write('manifest.jsonl', `${lines.join('\n')}\n`);
    expect(await rig.ingest()).toMatchObject({ status: 'completed', counts: { failed: 0 } });
    expect(await manifest()).toMatchObject({ status: 'completed', counts: { failed: 0 } });
  };
  const manifest = () => rig.ingest({ type: 'manifest', uri: join(rig.source, 'manifest.jsonl') });

  const expectEqual = async (a: number, b: number): Promise<void> => {
    await rig.settled(a, b);
    const [before, after] = [await rig.points(a), await rig.points(b)];
    const live = (points: Map<string, PointCopy>) =>
      [...points.values()].filter(({ image, record }) => image?.live || record?.live);
    expect(live(after).length).toBe(live(before).length);
    for (const [assetId, copy] of before) {
      const other = after.get(assetId);
      expect(other && essence(other)).toEqual(essence(copy));
    }
    expect(live(before).length).toBeGreaterThan(PICTURES);
  };
  const expectClean = async (): Promise<void> => {
    const { findings, list, unreadable } = await rig.audit();
    expect({ findings, list, unreadable }).toEqual({
      findings: { missing: 0, extra: 0, stale: 0, duplicate: 0, malformed: 0 },
      list: [],
      unreadable: [],
    });
  };

  /** Writes and searches until told to stop; answers what came of it. */
  const live = () => {
    const stop = new AbortController();
    const failures: string[] = [];
    let searches = 0;
    let writes = 0;
    const note = (what: string) => (error: unknown) => void failures.push(`${what}: ${String(error)}`);
    const write = async (): Promise<void> => {
      while (!stop.signal.aborted) {
        const n = writes++;
        await rig.write(`p/${n % PICTURES}.png`, `changed ${n}`);
        await rig.write(`new/${n}.png`, `new ${n}`);
        if (n % 3 === 2) await rig.remove(`new/${n - 2}.png`);
        const view = await rig.ingest();
        if (view.status !== 'completed' || view.counts.failed > 0) failures.push(`ingestion: ${JSON.stringify(view)}`);
        if (n % 4 !== 1) continue;
        const response = await rig.inject('DELETE', `/v1/items/item-${n % PICTURES}`);
        // Busy is what a writer of the same asset makes it, with a migration or without.
        const isFine = [200, 404].includes(response.statusCode) || response.json().code === 'asset_busy';
        if (!isFine) failures.push(`removal: ${response.statusCode} ${response.body}`);
      }
    };
    const search = async (i: number): Promise<void> => {
      for (let n = i; !stop.signal.aborted; n++) {
        const payload = { query: `Thing number ${n % PICTURES}`, limit: 5 };
        const response = await rig.inject('POST', '/v1/search', payload);
        searches += 1;
        if (response.statusCode !== 200) failures.push(`search: ${response.statusCode} ${response.body}`);
        else {
          const { degraded, results } = searchResponse.parse(response.json());
          if (degraded || results.length === 0) failures.push(`search: ${response.body.slice(0, 300)}`);
        }
        await sleep(5);
      }
    };
    const running = Promise.all([
      write().catch(note('writer')),
      search(0).catch(note('search')),
      search(50).catch(note('search')),
    ]);
    return {
      /** Until the writer has gone round some more times. */
      rounds: async (count: number) => {
        for (const until = writes + count; writes < until && failures.length === 0;) await sleep(20);
      },
      stop: async () => {
        stop.abort();
        await running;
        return { failures, searches, writes };
      },
    };
  };

  test(
    'under live writes and searches: through the fill, the cut-over and the roll-back no request fails and no point is missing',
    async () => {
      await openRig();
      const [from, to] = [oldPack(), newPack()];
      await rig.startPack(from);
      await rig.startServices();
      await fill();
      const life = live();
      await life.rounds(2);
      const { migration_id: id } = await rig.call('POST', '/v1/migrations', migrationView, {
        pack: 'new',
        bounds: { max_recall_loss: 1, max_failed_points: 3 },
      });
      expect((await rig.migration(id)).status).toBe('waiting');
      await rig.startPack(to);
      const ready = await rig.until(id, ({ status, hold }) => status === 'ready' || hold !== null);
      expect(ready).toMatchObject({ status: 'ready', gate: { passed: true, differences: 0 } });
      await life.rounds(2);
      await rig.act(id, 'cut-over');
      await rig.until(id, ({ status }) => status === 'serving');
      await life.rounds(4);
      const first = await life.stop();
      expect(first.failures).toEqual([]);
      expect(first.searches).toBeGreaterThan(20);
      await rig.settled(1, 2);
      await manifest();
      await expectEqual(2, 1);
      await expectClean();

      const again = live();
      await again.rounds(2);
      await rig.act(id, 'roll-back');
      await rig.until(id, ({ status }) => status === 'rolled_back');
      await again.rounds(2);
      expect((await again.stop()).failures).toEqual([]);
      expect(await rig.versions.serving()).toBe(1);
      await manifest();
      await expectClean();
      for (let i = 0; i < 100 && (await rig.versions.numbers()).length > 1; i++) await sleep(100);
      expect(await rig.versions.numbers()).toEqual([1]);
    },
    TIMEOUT_MS,
  );

  test(
    'where only the text space changes no picture is fetched, and texts are encoded once each',
    async () => {
      await openRig();
      await rig.startPack(oldPack());
      await rig.startServices();
      await fill();
      const to = new HashEncoder({ name: 'new', text: 'new' });
      const { migration_id: id } = await rig.call('POST', '/v1/migrations', migrationView, {
        pack: 'new',
        bounds: { max_recall_loss: 1 },
        preview_only: true,
      });
      await rig.startPack(to);
      const { preview } = await rig.until(id, ({ status }) => status === 'previewed');
      const [before] = [await rig.points(1)];
      const texts = [...before.values()].filter(({ vectors }) => vectors.text).length;
      expect(preview).toMatchObject({ changed_spaces: ['text'], points: before.size, failed_points: 0 });
      expect(preview?.quality.labelled).toBeGreaterThan(0);
      expect(await rig.versions.numbers()).toEqual([1]);
      to.encodedTexts = 0;
      await rig.act(id, 'resume');
      await rig.until(id, ({ status }) => status === 'ready');
      expect(to.decodes).toBe(0);
      expect(to.encodedTexts).toBeLessThanOrEqual(texts + 12);
      const after = await rig.points(2);
      for (const [assetId, { vectors }] of before) {
        expect(after.get(assetId)?.vectors.image).toEqual(vectors.image);
        if (vectors.text) expect(after.get(assetId)?.vectors.text).not.toEqual(vectors.text);
      }
      await rig.act(id, 'cancel');
      for (let i = 0; i < 100 && (await rig.versions.numbers()).length > 1; i++) await sleep(100);
      expect(await rig.versions.numbers()).toEqual([1]);
      expect(await rig.ingest()).toMatchObject({ status: 'completed', counts: { failed: 0 } });
    },
    TIMEOUT_MS,
  );

  test(
    'a picture that is not what was indexed keeps the gate shut, until it is mended or let go',
    async () => {
      await openRig();
      await rig.startPack(oldPack());
      await rig.startServices();
      await fill();
      // Nobody told the index of either.
      await rig.remove('p/1.png');
      await rig.write('p/2.png', 'quite another');
      const request = { pack: 'new', bounds: { max_recall_loss: 1 } };
      const { migration_id: id } = await rig.call('POST', '/v1/migrations', migrationView, request);
      await rig.startPack(newPack());
      const held = await rig.until(id, ({ hold, status }) => hold !== null || status === 'ready');
      expect(held).toMatchObject({ status: 'verifying', hold: 'gate', progress: { failed: 2 }, gate: { differences: 0 } });
      expect(held.failures.map(({ code }) => code).toSorted()).toEqual(['object_changed', 'object_not_found']);
      await expect(rig.act(id, 'cut-over')).rejects.toThrow('migration_state');
      // The ingestion brings both to the index, and so to both versions.
      expect(await rig.ingest()).toMatchObject({ status: 'completed' });
      await rig.settled(2);
      await rig.act(id, 'resume');
      expect(await rig.until(id, ({ hold, status }) => hold !== null || status === 'ready')).toMatchObject({
        status: 'ready',
        progress: { failed: 0 },
      });
      await rig.act(id, 'cut-over');
      await rig.until(id, ({ status }) => status === 'serving');
      await rig.settled(1, 2);
      await expectClean();
    },
    TIMEOUT_MS,
  );

  test(
    'killed again and again between any two steps, the migration goes on to its end, and both versions are equal',
    async () => {
      await openRig();
      const endOld = await rig.startPack(oldPack());
      await rig.startServices();
      await fill();
      const random = seeded(20_261_129);
      const { migration_id: id } = await rig.call('POST', '/v1/migrations', migrationView, {
        pack: 'new',
        bounds: { max_recall_loss: 1 },
        cut_over: 'auto',
      });
      const settings = { claimMs: 500, leaseTtlMs: 500, batchPoints: 8, pagePoints: 16, fillAhead: 24, sampleQueries: 4 };
      let lives = 0;
      let deaths = 0;
      for (; lives < 60; lives++) {
        if ((await rig.migration(id)).status === 'serving') break;
        const life = new Life(lives < 40 ? random.whole(10, 100) : Infinity);
        const end = await rig
          .startPack(newPack(), { ledger: life.dying(rig.ledger), versions: life.dyingVersions(rig.versions), settings })
          .catch(() => async () => {});
        for (let i = 0; i < 400 && !life.isOver; i++) {
          await sleep(25);
          if ((await rig.migration(id)).status === 'serving') break;
        }
        if (life.isOver) deaths += 1;
        life.end();
        await end();
      }
      expect((await rig.migration(id)).status).toBe('serving');
      expect(deaths).toBeGreaterThan(4);
      expect(await rig.versions.serving()).toBe(2);
      const end = await rig.startPack(newPack());
      await expectEqual(1, 2);
      await expectClean();
      await end();
      await endOld();
    },
    TIMEOUT_MS,
  );
}

function isClosable(value: unknown): value is { close: () => Promise<void> } {
  return typeof value === 'object' && value !== null && 'close' in value && typeof value.close === 'function';
}

/** A process that dies at one of its calls: what it calls after that has no effect. */
class Life {
  #left: number;

  constructor(calls: number) {
    this.#left = calls;
  }

  get isOver(): boolean {
    return this.#left <= 0;
  }

  end(): void {
    this.#left = 0;
  }

  dying<P extends object>(port: P, wrap: (name: string, result: unknown) => unknown = (_, result) => result): P {
    return new Proxy(port, {
      get: (target, property) => {
        const method: unknown = Reflect.get(target, property, target);
        if (typeof method !== 'function' || typeof property !== 'string') return method;
        if (property === 'close') return method.bind(target);
        return async (...args: unknown[]) => {
          if (this.isOver) throw new Error('this process is dead');
          this.#left -= 1;
          const result: unknown = await method.apply(target, args);
          // Done, and nobody hears of it; what it opened goes with it.
          if (this.isOver) {
            if (isClosable(result)) await result.close();
            throw new Error('this process is dead');
          }
          return wrap(property, result);
        };
      },
    });
  }

  /** The indexes that it opens die with it. */
  dyingVersions(versions: IndexVersions): IndexVersions {
    return this.dying(versions, (name, result) => (name === 'open' ? this.dying(result as object) : result));
  }
}
