import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { SightlineEvent } from '../src/contracts/events.ts';
import type { EventLog } from '../src/ports/event-log.ts';
import { assetEvent, versionOf } from './asset-event.ts';

/** A fresh log, with short pauses after a failing handler. */
export interface OpenedLog {
  log: EventLog;
  close(): Promise<void>;
}

const WAIT_MS = 20_000;

/** Waits until `isSo`; says what it waited for when it never is. */
export async function eventually(isSo: () => boolean, what: string, waitMs = WAIT_MS): Promise<void> {
  for (const startedAt = performance.now(); !isSo(); await sleep(10)) {
    if (performance.now() - startedAt > waitMs) throw new Error(`did not come: ${what}`);
  }
}

/** What every EventLog does; each adapter's test runs it and adds its own. */
export function eventLogContract(open: () => Promise<OpenedLog>): void {
  let opened: OpenedLog;
  let log: EventLog;

  beforeEach(async () => {
    opened = await open();
    log = opened.log;
  });

  afterEach(async () => {
    await log.close();
    await opened.close();
  });

  const group = (): string => `group-${randomUUID()}`;

  test('a subscriber gets what is published from now on, as it was published', async () => {
    await log.publish([assetEvent('before')]);
    const got: SightlineEvent[] = [];
    await log.subscribe(group(), async (events) => void got.push(...events));
    const published = [assetEvent('a'), assetEvent('b'), assetEvent('a', 2)];
    await log.publish(published);
    await eventually(() => got.length >= 3, 'three events');
    const inOrder = (events: SightlineEvent[]) => events.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    expect(inOrder(got)).toEqual(inOrder(published));
  });

  test('events of one subject come in the order they were published, also from many publishers at once', async () => {
    const got: SightlineEvent[] = [];
    await log.subscribe(group(), async (events) => void got.push(...events));
    const keys = Array.from({ length: 20 }, (_, i) => `key-${i}`);
    for (let version = 1; version <= 30; version++) {
      // Each publisher has subjects of its own, as a leased key has one writer.
      await Promise.all([0, 1].map((half) => log.publish(keys.filter((_, i) => i % 2 === half).map((key) => assetEvent(key, version))))); // prettier-ignore
    }
    await eventually(() => got.length >= 600, '600 events');
    expect(got).toHaveLength(600);
    for (const key of keys) {
      const { subject } = assetEvent(key);
      expect(got.filter((event) => event.subject === subject).map(versionOf)).toEqual(
        Array.from({ length: 30 }, (_, i) => i + 1),
      );
    }
  });

  test('publishing nothing is nothing; a large publish arrives whole', async () => {
    const ids = new Set<string>();
    await log.subscribe(group(), async (events) => events.forEach(({ id }) => ids.add(id)));
    await log.publish([]);
    await log.publish(Array.from({ length: 3_000 }, (_, i) => assetEvent(`key-${i}`)));
    await eventually(() => ids.size >= 3_000, '3,000 events');
    expect(ids.size).toBe(3_000);
  });

  test('each group gets every event, the members of one share them', async () => {
    const got: string[][] = [[], [], []];
    const shared = group();
    for (const [i, name] of [shared, shared, group()].entries())
      await log.subscribe(name, async (events) => void got[i]?.push(...events.map(({ id }) => id)));
    const published = Array.from({ length: 50 }, (_, i) => assetEvent(`key-${i}`));
    await log.publish(published);
    const ids = published.map(({ id }) => id).toSorted();
    await eventually(() => new Set(got.slice(0, 2).flat()).size >= 50 && new Set(got[2]).size >= 50, 'all events in both groups');
    expect([...new Set(got.slice(0, 2).flat())].toSorted()).toEqual(ids);
    expect([...new Set(got[2])].toSorted()).toEqual(ids);
  });

  test('a handler that throws gets the same events again, in order, and none is passed over', async () => {
    const handled: SightlineEvent[] = [];
    let throws = 3;
    await log.subscribe(group(), async (events) => {
      if (throws-- > 0) throw new Error('not now');
      handled.push(...events);
    });
    for (let version = 1; version <= 5; version++) await log.publish([assetEvent('a', version)]);
    await eventually(() => handled.length >= 5, 'five events');
    expect(handled.map(versionOf)).toEqual([1, 2, 3, 4, 5]);
  });

  test('one handler has one batch of a subject at a time', async () => {
    let running = 0;
    let most = 0;
    let seen = 0;
    await log.subscribe(group(), async (events) => {
      most = Math.max(most, ++running);
      await sleep(20);
      running--;
      seen += events.length;
    });
    for (let version = 1; version <= 10; version++) await log.publish([assetEvent('a', version)]);
    await eventually(() => seen >= 10, 'ten events');
    expect(most).toBe(1);
  });

  test('closing waits for the handler, and the next member of the group goes on where it ended', async () => {
    const name = group();
    const first: SightlineEvent[] = [];
    let signal: AbortSignal | undefined;
    let hasStarted = false;
    const subscription = await log.subscribe(name, async (events, given) => {
      signal = given;
      hasStarted = true;
      await sleep(300);
      first.push(...events);
    });
    await log.publish([assetEvent('a', 1)]);
    await eventually(() => hasStarted, 'the first event');
    await subscription.close();
    expect(signal?.aborted).toBe(true);
    expect(first.map(versionOf)).toEqual([1]);
    await log.publish([assetEvent('a', 2)]);
    const second: SightlineEvent[] = [];
    await log.subscribe(name, async (events) => void second.push(...events));
    await log.publish([assetEvent('a', 3)]);
    await eventually(() => second.some((event) => versionOf(event) === 3), 'the third event');
    // The first was handled, whether its place could still be written down or not.
    expect(second.map(versionOf).filter((version) => version > 1)).toEqual([2, 3]);
  });

  test('an event that is not of its schema is refused before it is in the log', async () => {
    const got: SightlineEvent[] = [];
    await log.subscribe(group(), async (events) => void got.push(...events));
    await expect(log.publish([assetEvent('a'), { ...assetEvent('b'), tenant: '' }])).rejects.toMatchObject({ name: 'ZodError' });
    await log.publish([assetEvent('c')]);
    await eventually(() => got.length > 0, 'the good event');
    expect(got.map(({ subject }) => subject)).toEqual([assetEvent('c').subject]);
  });

  test('a closed log takes nothing, and says so', async () => {
    await log.ping();
    await log.close();
    await expect(log.publish([assetEvent('a')])).rejects.toMatchObject({ code: 'events_unavailable' });
    await expect(log.subscribe(group(), async () => undefined)).rejects.toMatchObject({ code: 'events_unavailable' });
    await expect(log.ping()).rejects.toMatchObject({ code: 'events_unavailable' });
    await log.close();
  });
}
