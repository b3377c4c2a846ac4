import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Consumer } from 'kafkajs';
import { pino } from 'pino';
import { assetEvent, versionOf } from '../../testing/asset-event.ts';
import { eventLogContract, eventually } from '../../testing/event-log-contract.ts';
import { kafkaMissing, openKafkaServer, ownKafkaMissing, type KafkaServer } from '../../testing/kafka-server.ts';
import { deadLetterTopic, eventGroup, eventTopic, eventTopics, type SightlineEvent } from '../contracts/events.ts';
import type { EventLog } from '../ports/event-log.ts';
import { SightlineError } from '../runtime/errors.ts';
import { openKafkaClient, withKafkaAdmin } from './kafka-client.ts';
import { KafkaConsumer } from './kafka-consumer.ts';
import { openKafkaEventLog, type KafkaEventLogDeps } from './kafka-event-log.ts';
import { lagOf } from './kafka-group.ts';

const CONSUMER_PROCESS = fileURLToPath(new URL('../../testing/event-consumer-process.ts', import.meta.url));
const logger = pino({ level: 'silent' });

if (kafkaMissing) test.skip(`kafka: the event log (${kafkaMissing})`, () => undefined);
else
  describe('kafka', () => {
    let server: KafkaServer;
    beforeAll(async () => {
      server = await openKafkaServer();
    }, 120_000);
    afterAll(() => server.close());

    const freshPlace = () => ({ brokers: server.brokers, prefix: `test-${randomUUID()}.`, partitions: 3, replication: 1 });
    const open = (place = freshPlace(), deps: Partial<KafkaEventLogDeps> = {}): Promise<EventLog> =>
      openKafkaEventLog(place, { logger, retryMs: 50, sessionTimeoutMs: 6_000, ...deps });

    eventLogContract(async () => ({ log: await open(), close: async () => undefined }));

    /** Publishes versions 1.. of 10 keys until told to stop, each until it is acknowledged; answers the last of each key. */
    function publisher(log: EventLog) {
      let stopped = false;
      let failures = 0;
      const keys = Array.from({ length: 10 }, (_, i) => `key-${i}`);
      const done = Promise.all(
        keys.map(async (key) => {
          let version = 0;
          while (!stopped) {
            version += 1;
            for (;;) {
              try {
                await log.publish([assetEvent(key, version)]);
                break;
              } catch (error) {
                if (!(error instanceof SightlineError && error.code === 'events_unavailable')) throw error;
                failures += 1;
              }
            }
            await sleep(5);
          }
          return { subject: assetEvent(key).subject, versions: version };
        }),
      );
      const stop = () => {
        stopped = true;
        return done;
      };
      return { stop, failures: () => failures };
    }

    /** Nothing acknowledged is missing, and who looks at ids sees each subject's versions in order without a gap. */
    async function expectWhole(got: SightlineEvent[], published: { subject: string; versions: number }[]): Promise<void> {
      const seen = () => new Set(got.map(({ id }) => id)).size;
      const total = published.reduce((sum, { versions }) => sum + versions, 0);
      await eventually(() => seen() >= total, `${total} events`).catch((error: unknown) => {
        throw new Error(`${seen()} of ${total} came`, { cause: error });
      });
      const first = [...new Map(got.toReversed().map((event) => [event.id, event])).values()].reverse();
      for (const { subject, versions } of published) {
        const order = first.filter((event) => event.subject === subject).map(versionOf);
        expect(order).toEqual(Array.from({ length: versions }, (_, i) => i + 1));
      }
    }

    test('opening twice is opening once, and a topic that is there stays as it is', async () => {
      const place = freshPlace();
      await (await open(place)).close();
      await (await open({ ...place, partitions: 7 })).close();
      const kafka = openKafkaClient(place, logger);
      const { topics } = await withKafkaAdmin(kafka, (admin) => admin.fetchTopicMetadata({ topics: eventTopics(place.prefix) }));
      expect(topics.map(({ partitions }) => partitions.length)).toEqual(eventTopics(place.prefix).map(() => 3));
    });

    test('brokers that are not there are said to be so, within the deadline', async () => {
      const startedAt = performance.now();
      await expect(open({ ...freshPlace(), brokers: ['127.0.0.1:1'] })).rejects.toMatchObject({ code: 'events_unavailable' });
      expect(performance.now() - startedAt).toBeLessThan(10_000);
    });

    test('a message that is no event is put aside with its reason, and what follows comes', async () => {
      const place = freshPlace();
      const log = await open(place);
      const topic = eventTopic(place.prefix, 'asset.indexed');
      const kafka = openKafkaClient(place, logger);
      const group = randomUUID();
      const got: SightlineEvent[] = [];
      await log.subscribe(group, async (events) => void got.push(...events));
      const raw = kafka.producer({ allowAutoTopicCreation: false });
      await raw.connect();
      const { subject } = assetEvent('a');
      const poison = [
        'no JSON',
        '{"specversion":"1.0"}',
        JSON.stringify({ ...assetEvent('a'), data: { asset_id: 7 } }),
        null,
        'x'.repeat(950_000),
      ];
      for (const value of poison) await raw.send({ topic, messages: [{ key: subject, value }] });
      await raw.send({ topic, messages: [{ key: subject, value: JSON.stringify({ ...assetEvent('a'), type: 'asset.moved' }) }] });
      await raw.disconnect();
      await log.publish([assetEvent('a', 2)]);
      await eventually(() => got.length > 0, 'the event behind the poison');
      expect(got.map(versionOf)).toEqual([2]);

      const reader = kafka.consumer({ groupId: randomUUID() });
      const dead: { value: string | undefined; reason: string | undefined; offset: string | undefined }[] = [];
      await reader.connect();
      await reader.subscribe({ topic: deadLetterTopic(topic), fromBeginning: true });
      await reader.run({
        eachMessage: async ({ message: { value, headers } }) => {
          dead.push({ value: value?.toString(), reason: headers?.['sightline-reason']?.toString(), offset: headers?.['sightline-offset']?.toString() }); // prettier-ignore
        },
      });
      await eventually(() => dead.length >= poison.length, 'the dead letters');
      expect(dead.map(({ value }) => value?.slice(0, 100))).toEqual(poison.map((value) => value?.slice(0, 100)));
      expect(dead.map(({ offset }) => offset)).toEqual(['0', '1', '2', '3', '4']);
      for (const { reason } of dead) expect(reason).toBeTruthy();
      await reader.disconnect();
      // Its place is behind the poison: nothing of it comes again.
      await eventually(() => got.length > 0, 'the place');
      await log.close();
      const lags = await withKafkaAdmin(kafka, (admin) => lagOf(admin, eventGroup(place.prefix, group), [topic]));
      expect(lags.map(({ lag }) => lag)).toEqual([0n, 0n, 0n]);
    }, 60_000);

    test('members that come and go share the events, without a gap', async () => {
      const place = freshPlace();
      const [one, two, publishing] = [await open(place), await open(place), await open(place)];
      const got: SightlineEvent[] = [];
      const counts = [0, 0];
      const handler = (i: number) => async (events: SightlineEvent[]) => {
        await sleep(10);
        got.push(...events);
        counts[i] = (counts[i] ?? 0) + events.length;
      };
      const first = await one.subscribe('shared', handler(0));
      const publishers = publisher(publishing);
      await eventually(() => (counts[0] ?? 0) > 50, 'the first at work');
      await two.subscribe('shared', handler(1));
      await eventually(() => (counts[1] ?? 0) > 50, 'the second at work');
      await first.close();
      const before = counts[1] ?? 0;
      await eventually(() => (counts[1] ?? 0) > before + 100, 'the second alone');
      await expectWhole(got, await publishers.stop());
      for (const log of [one, two, publishing]) await log.close();
    }, 60_000);

    test('a consumer process that is killed and started again leaves no gap', async () => {
      const place = freshPlace();
      const folder = mkdtempSync(join(tmpdir(), 'sightline-consumer-'));
      const file = join(folder, 'ids');
      writeFileSync(file, '');
      const lines = () => readFileSync(file, 'utf8').trim().split('\n');
      const children: ChildProcess[] = [];
      const start = async () => {
        const before = lines().filter((line) => line === 'ready').length;
        const args = [CONSUMER_PROCESS, place.brokers.join(','), place.prefix, 'killed', file];
        children.push(spawn(process.execPath, args, { stdio: 'ignore' }));
        await eventually(() => lines().filter((line) => line === 'ready').length > before, 'the consumer');
      };
      const kill = () => {
        const child = children.at(-1);
        const ended = new Promise((resolve) => child?.once('exit', resolve));
        child?.kill('SIGKILL');
        return ended;
      };
      const log = await open(place);
      try {
        await start();
        const publishers = publisher(log);
        await eventually(() => lines().length > 100, 'events handled before the death');
        await kill();
        await sleep(200);
        await start();
        const published = await publishers.stop();
        const expected = published.flatMap(({ subject, versions }) =>
          Array.from({ length: versions }, (_, i) => `${subject} ${i + 1}`),
        );
        const nameOf = new Map(
          Array.from({ length: 10 }, (_, i) => `key-${i}`).flatMap((key) =>
            Array.from({ length: Math.max(...published.map(({ versions }) => versions)) }, (_, i) => {
              const event = assetEvent(key, i + 1);
              return [event.id, `${event.subject} ${i + 1}`] as const;
            }),
          ),
        );
        const seen = () => new Set(lines().flatMap((line) => nameOf.get(line) ?? []));
        await eventually(() => seen().size >= expected.length, `${expected.length} events`, 30_000);
        expect([...seen()].toSorted()).toEqual(expected.toSorted());
      } finally {
        await kill();
        await log.close();
        rmSync(folder, { recursive: true });
      }
    }, 90_000);

    test('a consumer that says it runs and moves nothing is started again', async () => {
      const place = freshPlace();
      const log = await open(place);
      const topics = eventTopics(place.prefix);
      const groupId = eventGroup(place.prefix, 'stalled');
      const kafka = openKafkaClient(place, logger);
      const consumers: Consumer[] = [];
      const make = kafka.consumer.bind(kafka);
      kafka.consumer = (config) => {
        const consumer = make(config);
        consumers.push(consumer);
        return consumer;
      };
      let got = 0;
      let restarts = 0;
      const consumer = new KafkaConsumer(
        kafka,
        {
          groupId,
          topics,
          handler: async (messages) => void (got += messages.length),
          retryMs: 50,
          stalledAfterMs: 1_000,
          sessionTimeoutMs: 6_000,
          onRestart: () => (restarts += 1),
        },
        logger,
      );
      await consumer.open();
      await log.publish([assetEvent('a', 1)]);
      await eventually(() => got === 1, 'the first event');
      await sleep(2_000);
      expect(restarts).toBe(0);
      // Behind the adapter's back: the client still beats its heart and says that it runs.
      consumers[0]?.pause(topics.map((topic) => ({ topic })));
      await sleep(700);
      await log.publish([assetEvent('a', 2)]);
      await eventually(() => got === 2, 'the second event');
      expect(restarts).toBe(1);
      await consumer.close();
      await log.close();
    }, 60_000);

    const ours = ownKafkaMissing ? test.skip : test;
    ours(
      `nothing acknowledged is lost over brokers that die and freeze, and the outage shows${ownKafkaMissing ? ` (${ownKafkaMissing})` : ''}`,
      async () => {
        const place = freshPlace();
        const log = await open(place, { publishTimeoutMs: 2_000, stalledAfterMs: 4_000 });
        const got: SightlineEvent[] = [];
        await log.subscribe('outage', async (events) => void got.push(...events));
        const publishers = publisher(log);
        const outage = async (begin: () => Promise<void> | undefined, end: () => Promise<void> | undefined): Promise<void> => {
          const before = publishers.failures();
          const seenBefore = got.length;
          await eventually(() => got.length > seenBefore + 50, 'events before the outage');
          await begin();
          expect(await refusal(log)).toMatchObject({ code: 'events_unavailable' });
          await eventually(() => publishers.failures() > before, 'the outage to show');
          await end();
          const seen = got.length;
          await eventually(() => got.length > seen + 50, 'events after the outage', 40_000);
          await log.ping();
        };
        await outage(() => server.kill?.(), () => server.start?.()); // prettier-ignore
        await outage(async () => server.freeze?.(), async () => server.thaw?.()); // prettier-ignore
        await expectWhole(got, await publishers.stop());
        await log.close();
      },
      180_000,
    );
  });

/** Only a broker of the test's own is stopped. */

/** What `ping` says once the fault is there: a broker that is stopped goes on for a moment. */
async function refusal(log: EventLog): Promise<unknown> {
  for (let tries = 0; tries < 50; tries++) {
    try {
      await log.ping();
    } catch (error) {
      return error;
    }
    await sleep(100);
  }
  return null;
}
