import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { ChangeFeed, Noticed } from '../core/change-feed.ts';
import { keysOf } from './change-feed-keys.ts';

/** A feed that is not started, over a source of its own. Pauses after a failing handler are short. */
export interface OpenedFeed {
  feed: ChangeFeed;
  bucket: string;
  /** Changes the object in a way that the feed hears of. */
  change(key: string): Promise<void>;
  close(): Promise<void>;
}

const WAIT_MS = 20_000;

/** Waits until `isSo`; says what it waited for when it never is. */
export async function eventually(isSo: () => boolean | Promise<boolean>, what: string, waitMs = WAIT_MS): Promise<void> {
  for (const startedAt = performance.now(); !(await isSo()); await sleep(10)) {
    if (performance.now() - startedAt > waitMs) throw new Error(`did not come: ${what}`);
  }
}

/** What every ChangeFeed does; each adapter's test runs it and adds its own. */
export function changeFeedContract(open: () => Promise<OpenedFeed>): void {
  let opened: OpenedFeed;
  let feed: ChangeFeed;

  beforeEach(async () => {
    opened = await open();
    feed = opened.feed;
  });

  afterEach(async () => {
    await feed.close();
    await opened.close();
  });

  test('what changes from the start on is told of, with its place', async () => {
    const got: Noticed[] = [];
    await feed.start(async (noticed) => void got.push(...noticed));
    await opened.change('a.png');
    await opened.change('folder/b c+d.png');
    await eventually(() => ['a.png', 'folder/b c+d.png'].every((key) => keysOf(got).includes(key)), 'both');
    expect(got.every((one) => one.kind === 'object' && one.bucket === opened.bucket)).toBe(true);
    await feed.ping();
  });

  test('when a handler throws the same comes again, with what came meanwhile', async () => {
    const batches: string[][] = [];
    let failures = 0;
    await feed.start(async (noticed) => {
      batches.push(keysOf(noticed));
      if (failures++ < 2) throw new Error('the ledger is away');
    });
    await opened.change('a.png');
    await eventually(() => batches.length > 0, 'the first');
    await opened.change('b.png');
    await eventually(() => failures > 2 && batches.slice(2).flat().includes('b.png'), 'both again');
    expect(batches.slice(0, 3).every((keys) => keys.includes('a.png'))).toBe(true);
  });

  test('what comes while a handler is at work is kept, and no two handlers work at once', async () => {
    const got = new Set<string>();
    let running = 0;
    let most = 0;
    await feed.start(async (noticed) => {
      running += 1;
      most = Math.max(most, running);
      await sleep(300);
      for (const key of keysOf(noticed)) got.add(key);
      running -= 1;
    });
    const keys = Array.from({ length: 60 }, (_, n) => `${n}.png`);
    for (const key of keys) await opened.change(key);
    await eventually(() => keys.every((key) => got.has(key)), 'all of them');
    expect(most).toBe(1);
  });

  test('closing waits for the handler, tells it to stop, and hands out nothing more', async () => {
    let isDone = false;
    let hasStopped = false;
    let calls = 0;
    await feed.start(async (_, signal) => {
      calls += 1;
      signal.addEventListener('abort', () => (hasStopped = true));
      await sleep(500);
      isDone = true;
    });
    await opened.change('a.png');
    await eventually(() => calls > 0, 'the first');
    await feed.close();
    expect({ isDone, hasStopped, calls }).toEqual({ isDone: true, hasStopped: true, calls: 1 });
    await opened.change('b.png');
    await sleep(700);
    expect(calls).toBe(1);
  });

  test('a feed that does not run says so', async () => {
    await expect(feed.ping()).rejects.toMatchObject({ code: 'events_unavailable' });
    await feed.start(async () => {});
    await feed.ping();
    await feed.close();
    await expect(feed.ping()).rejects.toMatchObject({ code: 'events_unavailable' });
  });
}
