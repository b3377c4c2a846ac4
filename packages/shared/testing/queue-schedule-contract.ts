import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import type { JobData } from '../src/contracts/jobs.ts';
import type { JobContext, QueueEngine } from '../src/ports/queue-engine.ts';

const EVERY_MS = 400;

/** What every queue engine does with schedules: a part of queueEngineContract. `open` opens an engine at a place that only the test uses. */
export function queueScheduleContract(backend: string, open: () => Promise<{ open: () => Promise<QueueEngine> }>): void {
  const due = (repair = false): JobData<'audit-due'> => ({ repair, everyMs: EVERY_MS });
  /** Works the turns until `ms` have passed. */
  const collect = async (engines: QueueEngine[], ms: number): Promise<{ jobId: string; at: number; repair: boolean }[]> => {
    const turns: { jobId: string; at: number; repair: boolean }[] = [];
    const handler = async ({ repair }: JobData<'audit-due'>, { jobId }: JobContext) =>
      void turns.push({ jobId, at: performance.now(), repair });
    for (const engine of engines) await engine.work('audit-due', handler, { concurrency: 2 });
    await sleep(ms);
    return turns;
  };

  test(`${backend}: a schedule's turns come once each, however many engines ask for it and work it`, async () => {
    const place = await open();
    const engines = [await place.open(), await place.open()];
    for (const engine of engines) await engine.schedule('audit-due', 'audits', due(), { lane: 'bulk', everyMs: EVERY_MS });
    const turns = await collect(engines, 5 * EVERY_MS);
    // Once at once, then at each multiple of the interval.
    expect(turns.length).toBeGreaterThanOrEqual(4);
    expect(turns.length).toBeLessThanOrEqual(7);
    expect(new Set(turns.map(({ jobId }) => jobId)).size).toBe(turns.length);
  });

  test(`${backend}: to ask for a schedule again, with other data, adds no turn`, async () => {
    const place = await open();
    const engine = await place.open();
    await engine.schedule('audit-due', 'audits', due(), { lane: 'bulk', everyMs: 60_000 });
    for (let n = 0; n < 5; n++) await engine.schedule('audit-due', 'audits', due(true), { lane: 'bulk', everyMs: 60_000 });
    const turns = await collect([engine], 300);
    expect(turns.length).toBeLessThanOrEqual(1);
    for (const { repair } of turns) expect(repair).toBe(true);
    await engine.schedule('audit-due', 'audits', due(true), { lane: 'bulk', everyMs: 60_000 });
    await sleep(300);
    expect(turns.length).toBeLessThanOrEqual(1);
  });

  test(`${backend}: a schedule that is ended brings no further turn, and ending it twice is ending it once`, async () => {
    const place = await open();
    const engine = await place.open();
    await engine.schedule('audit-due', 'audits', due(), { lane: 'bulk', everyMs: EVERY_MS });
    const turns = await collect([engine], 2 * EVERY_MS);
    expect(turns.length).toBeGreaterThan(0);
    await engine.unschedule('audit-due', 'audits');
    await sleep(50);
    const ended = turns.length;
    await sleep(3 * EVERY_MS);
    expect(turns).toHaveLength(ended);
    await engine.unschedule('audit-due', 'audits');
    await engine.unschedule('audit-due', 'never was');
  });

  test(`${backend}: a turn whose work fails is tried again under its own id`, async () => {
    const place = await open();
    const engine = await place.open();
    const tries: { jobId: string; attempt: number }[] = [];
    const tried = Promise.withResolvers<void>();
    await engine.schedule('audit-due', 'audits', due(), { lane: 'bulk', everyMs: EVERY_MS });
    await engine.work(
      'audit-due',
      async (_, { jobId, attempt }) => {
        tries.push({ jobId, attempt });
        if (attempt === 1) throw new Error('once');
        tried.resolve();
      },
      { concurrency: 1 },
    );
    await tried.promise;
    const second = tries.find(({ attempt }) => attempt === 2);
    expect(tries).toContainEqual({ jobId: second?.jobId, attempt: 1 });
  });
}
