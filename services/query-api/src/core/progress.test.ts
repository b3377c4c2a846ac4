import { expect, test } from '@jest/globals';
import type { Ingestion } from '@sightline/shared/ports/ledger';
import { Progress } from './progress.ts';

const MINUTE = 60_000;

function at(done: number, more: Partial<Ingestion> = {}): Ingestion {
  return {
    ingestionId: 'one',
    tenant: 't',
    source: { type: 'directory', path: '/x' },
    dryRun: false,
    status: 'running',
    reason: null,
    hold: null,
    counts: { listed: 1_000, indexed: done, unchanged: 0, duplicate: 0, failed: 0 },
    planned: true,
    cursor: null,
    nextChunkNo: 1,
    createdAt: 0,
    finishedAt: null,
    ...more,
  };
}

test('the rate is that of the last half minute where it was watched, else of the whole run', () => {
  let now = MINUTE;
  const progress = new Progress(() => now);
  expect(progress.view(at(600)).images_per_second).toBe(10);
  now += 10_000;
  // 20 a second since it was last looked at.
  const view = progress.view(at(800));
  expect(view).toMatchObject({ images_per_second: 20, eta_seconds: 10 });
  now += MINUTE;
  // Nobody looked for a minute: what was seen then says nothing any more.
  expect(progress.view(at(900)).images_per_second).toBeCloseTo(900 / 130, 2);
});

test('time left is told only once the source is listed, and while something moves', () => {
  const progress = new Progress(() => MINUTE);
  expect(progress.view(at(60, { planned: false })).eta_seconds).toBeNull();
  expect(progress.view(at(0)).eta_seconds).toBeNull();
  expect(progress.view(at(1_000, { status: 'completed', finishedAt: 50_000 }))).toMatchObject({
    eta_seconds: null,
    images_per_second: 20,
    finished_at: '1970-01-01T00:00:50.000Z',
  });
});

test('what failed, was unchanged or a duplicate counts as dealt with', () => {
  const progress = new Progress(() => MINUTE);
  const counts = { listed: 100, indexed: 10, unchanged: 20, duplicate: 15, failed: 15 };
  expect(progress.view(at(0, { counts }))).toMatchObject({ images_per_second: 1, eta_seconds: 40, counts });
});
