import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Kafka, logLevel, type Consumer, type Producer } from 'kafkajs';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { openKafkaClient, withKafkaAdmin } from '@sightline/shared/adapters/kafka-client';
import { lagOf } from '@sightline/shared/adapters/kafka-group';
import { deadLetterTopic, eventGroup } from '@sightline/shared/contracts/events';
import { kafkaMissing, openKafkaServer, ownKafkaMissing, type KafkaServer } from '@sightline/shared/testing/kafka-server';
import type { Noticed } from '../core/change-feed.ts';
import { changeFeedContract, eventually } from '../testing/change-feed-contract.ts';
import { keysOf } from '../testing/change-feed-keys.ts';
import { openKafkaChangeFeed, type KafkaChangeFeedDeps } from './kafka-change-feed.ts';

const FEED_PROCESS = fileURLToPath(new URL('../testing/change-feed-process.ts', import.meta.url));
const logger = pino({ level: 'silent' });
const BUCKET = 'shop';

if (kafkaMissing) test.skip(`kafka: the change feed (${kafkaMissing})`, () => undefined);
else
  describe('kafka', () => {
    let server: KafkaServer;
    let producer: Producer;
    beforeAll(async () => {
      server = await openKafkaServer();
      producer = new Kafka({
        brokers: server.brokers,
        logLevel: logLevel.NOTHING,
        retry: { retries: 20, maxRetryTime: 1_000 },
      }).producer({
        allowAutoTopicCreation: false,
      });
      await producer.connect();
    }, 120_000);
    afterAll(async () => {
      await producer.disconnect();
      await server.close();
    });

    const freshPlace = () => {
      const prefix = `test-${randomUUID()}.`;
      const topics = { notificationsTopic: `${prefix}s3-events`, itemsTopic: `${prefix}items` };
      return { brokers: server.brokers, prefix, ...topics, allowedSources: ['shop/{tenant}'], partitions: 3, replication: 1 };
    };
    type Place = ReturnType<typeof freshPlace>;
    const open = (place: Place, deps: Partial<KafkaChangeFeedDeps> = {}) =>
      openKafkaChangeFeed(place, { logger, retryMs: 50, sessionTimeoutMs: 6_000, ...deps });

    function notification(...keys: string[]): string {
      const Records = keys.map((key) => ({
        eventName: 's3:ObjectCreated:Put',
        eventTime: '2026-01-02T03:04:05.000Z',
        s3: { bucket: { name: BUCKET }, object: { key: encodeURIComponent(key).replaceAll('%20', '+') } },
      }));
      return JSON.stringify({ Records });
    }

    /** On any of the partitions, as gateways do. */
    async function tell(place: Place, ...keys: string[]): Promise<void> {
      const messages = keys.map((key, n) => ({ value: notification(key), partition: n % place.partitions }));
      await producer.send({ topic: place.notificationsTopic, messages });
    }

    async function lagsOf(place: Place): Promise<string[]> {
      const kafka = openKafkaClient(place, logger);
      const group = eventGroup(place.prefix, 'changes');
      return (await withKafkaAdmin(kafka, (admin) => lagOf(admin, group, [place.notificationsTopic]))).map(({ lag }) =>
        String(lag),
      );
    }

    const numbered = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, n) => `${from + n}.png`);

    changeFeedContract(async () => {
      const place = freshPlace();
      return {
        feed: await open(place),
        bucket: BUCKET,
        // Of one partition: each is handed out, and comes again, by itself.
        change: async (key) => {
          await producer.send({ topic: place.notificationsTopic, messages: [{ value: notification(key), partition: 0 }] });
        },
        close: async () => undefined,
      };
    });

    test('every key is told of in all its readings, with the time that the store says', async () => {
      const place = freshPlace();
      const feed = await open(place);
      const got: Noticed[] = [];
      await feed.start(async (noticed) => void got.push(...noticed));
      await tell(place, 'a b+c%20.png');
      await eventually(() => got.length > 0, 'the key');
      expect(got).toEqual([
        expect.objectContaining({
          bucket: BUCKET,
          changedAt: Date.UTC(2026, 0, 2, 3, 4, 5),
          keys: expect.arrayContaining(['a b+c%20.png']),
        }),
      ]);
      await feed.close();
    });

    test('what cannot be read goes to the dead letters with its reason and place, and stops nothing', async () => {
      const place = freshPlace();
      const registry = new Registry();
      const feed = await open(place, { registry });
      const got: string[] = [];
      let failures = 0;
      await feed.start(async (noticed) => {
        if (failures++ === 0) throw new Error('the ledger is away');
        got.push(...keysOf(noticed));
      });
      const half = { eventName: 's3:ObjectCreated:Put', s3: { bucket: { name: BUCKET }, object: {} } };
      const whole = (JSON.parse(notification('beside.png')) as { Records: object[] }).Records;
      const poison: (string | null)[] = [
        'no JSON',
        '{"specversion":"1.0"}',
        'null',
        '[]',
        '{"Records":7}',
        JSON.stringify({ Records: [half, ...whole] }),
        'x'.repeat(900_000),
      ];
      const harmless = [null, '{"Records":[]}', '{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"shop"}'];
      const messages = [...poison, ...harmless, notification('behind.png')].map((value) => ({ value, partition: 0 }));
      for (const message of messages) await producer.send({ topic: place.notificationsTopic, messages: [message] });
      await eventually(() => ['beside.png', 'behind.png'].every((key) => got.includes(key)), 'what can be read');

      const reader = new Kafka({ brokers: server.brokers, logLevel: logLevel.NOTHING }).consumer({ groupId: randomUUID() });
      const dead = new Map<string, { value: string | undefined; reason: string | undefined; topic: string | undefined }>();
      await reader.connect();
      await reader.subscribe({ topic: deadLetterTopic(place.notificationsTopic), fromBeginning: true });
      await reader.run({
        eachMessage: async ({ message: { value, headers } }) => {
          const of = (name: string): string | undefined => headers?.[`sightline-${name}`]?.toString();
          dead.set(of('offset') ?? '', { value: value?.toString(), reason: of('reason'), topic: of('topic') });
        },
      });
      await eventually(() => dead.size >= poison.length, 'the dead letters');
      await sleep(500);
      expect([...dead.keys()].toSorted()).toEqual(poison.map((_, n) => String(n)));
      for (const [offset, { value, reason, topic }] of dead) {
        expect({ value: value?.slice(0, 100), topic }).toEqual({
          value: poison[Number(offset)]?.slice(0, 100),
          topic: place.notificationsTopic,
        });
        expect(reason).toBeTruthy();
      }
      expect(dead.get('5')?.reason).toMatch(/key/);
      await reader.disconnect();
      await feed.close();
      expect(await lagsOf(place)).toEqual(['0', '0', '0']);
      expect(await registry.metrics()).toContain('sightline_events_dead_total');
    }, 60_000);

    test('records are read from the beginning of their topic; those of another version, or that name what they may not, are put aside', async () => {
      const place = freshPlace();
      const registry = new Registry();
      const first = await open(place);
      await first.close();
      const told = { schema: 'sightline.item/1', tenant: 'acme', item_id: 'sku-1' };
      const put = { ...told, op: 'put', title: 'Lamp', attributes: { price: 9 }, images: ['s3://shop/acme/lamp.png'] };
      const messages = [
        { ...put, changed_at: '2026-01-02T03:04:05Z' },
        { ...put, schema: 'sightline.item/2' },
        { ...put, images: ['s3://shop/other/lamp.png'] },
        { ...put, images: ['s3://sightline/reports/acme/x'] },
        { ...told, op: 'delete' },
      ].map((message) => ({ key: 'acme sku-1', value: JSON.stringify(message), partition: 0 }));
      await producer.send({ topic: place.itemsTopic, messages });
      const feed = await open(place, { registry });
      const got: Noticed[] = [];
      await feed.start(async (noticed) => void got.push(...noticed));
      await eventually(() => got.length >= 2, 'the records');
      const pictures = [{ bucket: 'shop', key: 'acme/lamp.png' }];
      const record = { itemId: 'sku-1', title: 'Lamp', text: '', attributes: { price: 9 }, pictures };
      expect(got).toEqual([
        {
          kind: 'item',
          tenant: 'acme',
          changedAt: Date.UTC(2026, 0, 2, 3, 4, 5),
          change: { kind: 'item', itemId: 'sku-1', record },
        },
        { kind: 'item', tenant: 'acme', changedAt: null, change: { kind: 'item', itemId: 'sku-1', record: null } },
      ]);
      const topic = deadLetterTopic(place.itemsTopic);
      await eventually(
        async () => (await registry.metrics()).includes(`sightline_events_dead_total{topic="${topic}"} 3`),
        'the dead',
      );
      await feed.close();
    }, 60_000);

    test('the place moves on only after the handler returned', async () => {
      const place = freshPlace();
      const feed = await open(place);
      const release = Promise.withResolvers<void>();
      let isHeld = false;
      await feed.start(async () => {
        isHeld = true;
        await release.promise;
      });
      await producer.send({
        topic: place.notificationsTopic,
        messages: numbered(0, 5).map((key) => ({ value: notification(key), partition: 1 })),
      });
      await eventually(() => isHeld, 'the handler');
      await sleep(1_000);
      expect(Number((await lagsOf(place))[1])).toBeGreaterThan(0);
      release.resolve();
      for (let tries = 0; (await lagsOf(place))[1] !== '0'; tries++) {
        expect(tries).toBeLessThan(50);
        await sleep(100);
      }
      await feed.close();
    }, 60_000);

    test('a process that is killed in mid-batch and started again leaves no gap', async () => {
      const place = freshPlace();
      await (await open(place)).close();
      const folder = mkdtempSync(join(tmpdir(), 'sightline-feed-'));
      const file = join(folder, 'keys');
      writeFileSync(file, '');
      const lines = () => readFileSync(file, 'utf8').trim().split('\n');
      const children: ChildProcess[] = [];
      const start = async () => {
        const before = lines().filter((line) => line === 'ready').length;
        const args = [FEED_PROCESS, place.brokers.join(','), place.prefix, place.notificationsTopic, file];
        children.push(spawn(process.execPath, args, { stdio: 'ignore' }));
        await eventually(() => lines().filter((line) => line === 'ready').length > before, 'the feed');
      };
      const kill = async () => {
        const child = children.at(-1);
        const ended = new Promise((resolve) => child?.once('exit', resolve));
        if (child?.exitCode === null && child.signalCode === null && child.kill('SIGKILL')) await ended;
      };
      try {
        await start();
        for (let death = 0; death < 3; death++) {
          const handled = lines().length;
          await tell(place, ...numbered(death * 600, death * 600 + 600));
          await eventually(() => lines().length > handled + 100, 'some of a batch');
          await kill();
          await start();
        }
        const expected = numbered(0, 1_800);
        await eventually(() => expected.every((key) => new Set(lines()).has(key)), 'all keys', 40_000);
        // It died in the middle of something.
        expect(lines().length).toBeGreaterThan(1_800 + 4);
      } finally {
        await kill();
        rmSync(folder, { recursive: true });
      }
    }, 120_000);

    test('members that come and go share the partitions and lose nothing', async () => {
      const place = freshPlace();
      const [one, two] = [await open(place), await open(place)];
      const got = new Set<string>();
      const counts = [0, 0];
      const handler = (member: number) => async (noticed: Noticed[]) => {
        await sleep(20);
        for (const key of keysOf(noticed)) got.add(key);
        counts[member] = (counts[member] ?? 0) + noticed.length;
      };
      let told = 0;
      let isOver = false;
      const telling = (async () => {
        while (!isOver) {
          await tell(place, ...numbered(told, told + 9));
          told += 9;
          await sleep(20);
        }
      })();
      await one.start(handler(0));
      const first = told;
      await eventually(() => (counts[0] ?? 0) > 50, 'the first at work');
      await two.start(handler(1));
      await eventually(() => (counts[1] ?? 0) > 50, 'the second at work');
      await one.close();
      const before = counts[1] ?? 0;
      await eventually(() => (counts[1] ?? 0) > before + 100, 'the second alone');
      isOver = true;
      await telling;
      // From the start of the first on: what was told before a new group began is none of its.
      await eventually(() => numbered(first, told).every((key) => got.has(key)), 'all of them');
      await two.close();
    }, 60_000);

    test('a consumer that says it runs and moves nothing is started again, and the feed says so meanwhile', async () => {
      const place = freshPlace();
      const registry = new Registry();
      const consumers: Consumer[] = [];
      const make = Kafka.prototype.consumer;
      Kafka.prototype.consumer = function (config) {
        const consumer = make.call(this, config);
        consumers.push(consumer);
        return consumer;
      };
      const feed = await open(place, { stalledAfterMs: 1_500, registry });
      const got: string[] = [];
      await feed.start(async (noticed) => void got.push(...keysOf(noticed)));
      Kafka.prototype.consumer = make;
      await tell(place, 'a.png');
      await eventually(() => got.length > 0, 'the first');
      // Behind the adapter's back: the client still beats its heart and says that it runs.
      consumers[0]?.pause([{ topic: place.notificationsTopic }]);
      await sleep(700);
      await tell(place, 'b.png');
      await eventually(() => got.includes('b.png'), 'the second');
      expect(await registry.metrics()).toMatch(/sightline_event_consumer_restarts_total\{[^}]*\} 1/);
      await feed.close();
    }, 60_000);

    test('brokers that are not there are said to be so', async () => {
      await expect(open({ ...freshPlace(), brokers: ['127.0.0.1:1'] })).rejects.toMatchObject({ code: 'events_unavailable' });
    });

    const ours = ownKafkaMissing ? test.skip : test;
    ours.each(['stop', 'kill', 'freeze'] as const)(
      `nothing that was told is lost over a broker that goes (%s) and comes back${ownKafkaMissing ? ` (${ownKafkaMissing})` : ''}`,
      async (how) => {
        const place = freshPlace();
        const feed = await open(place, { stalledAfterMs: 4_000 });
        const got = new Set<string>();
        await feed.start(async (noticed) => {
          for (const key of keysOf(noticed)) got.add(key);
        });
        await tell(place, ...numbered(0, 300));
        await eventually(() => got.size > 10, 'the first');
        await server[how]?.();
        await sleep(3_000);
        await (how === 'freeze' ? server.thaw?.() : server.start?.());
        await tell(place, ...numbered(300, 600));
        await eventually(() => numbered(0, 600).every((key) => got.has(key)), 'all', 60_000);
        await feed.ping();
        await feed.close();
      },
      120_000,
    );
  });
