import { expect, test } from '@jest/globals';
import type { Ingestion, IngestionStatus, Ledger } from '@sightline/shared/ports/ledger';
import { sweepChunks, sweepIngestions, type SweepDeps } from './core/sweep.ts';

const COUNTS = { listed: 0, indexed: 0, unchanged: 0, duplicate: 0, failed: 0 };

/** Made one after the other. */
function ingestion(createdAt: number, status: IngestionStatus, more: Partial<Ingestion> = {}): Ingestion {
  const ingestionId = `${status}-${createdAt}`;
  const source = { type: 'directory', path: '/pictures' } as const;
  const told = { reason: null, hold: null, planned: false, cursor: null, nextChunkNo: 0, finishedAt: null };
  return { ingestionId, tenant: 't', source, dryRun: false, status, counts: COUNTS, createdAt, ...told, ...more };
}

/** A sweep over so many that creating them would take longer than the test is worth; `owed` in chunks, oldest first. */
function rig(ingestions: Ingestion[], owed: { ingestionId: string; chunks: number }[] = []) {
  const ledger: SweepDeps['ledger'] = {
    listIngestions: async (_, { statuses = [], limit, oldestFirst }: Parameters<Ledger['listIngestions']>[1]) => {
      const found = ingestions.filter(({ status }) => statuses.includes(status));
      return (oldestFirst ? found : found.toReversed()).slice(0, limit);
    },
    outstandingChunks: async ({ limit }) =>
      owed
        .flatMap(({ ingestionId, chunks }) =>
          Array.from({ length: chunks }, (__, chunkNo) => ({ tenant: 't', ingestionId, chunkNo, addedAt: 1 })),
        )
        .slice(0, limit),
    countOutstandingChunks: async (of = { tenant: 't' }) =>
      'ingestionId' in of ? (owed.find(({ ingestionId }) => ingestionId === of.ingestionId)?.chunks ?? 0) : 0,
  };
  const plans: string[] = [];
  const chunks: string[] = [];
  const deps: SweepDeps = {
    ledger,
    backlog: { mayGoOn: async () => true },
    enqueuePlan: async ({ ingestionId }) => void plans.push(ingestionId),
    enqueueChunk: async ({ ingestionId }) => void chunks.push(ingestionId),
    now: () => 100,
  };
  return { deps, plans, chunks };
}

test('what has been going for longest is looked at, however many ingestions begin after it or are held before it', async () => {
  const held = Array.from({ length: 3_000 }, (_, i) => ingestion(i, 'paused', { hold: 'user' }));
  const late = Array.from({ length: 3_000 }, (_, i) => ingestion(5_000 + i, 'planning'));
  const { deps, plans } = rig([...held, ingestion(4_000, 'running', { planned: true }), ...late]);
  await sweepIngestions(deps);
  expect(plans).toContain('running-4000');
  expect(plans).not.toContain('paused-0');
});

test('chunks that are owed are driven though more of held ingestions are older', async () => {
  const paused = ingestion(1, 'paused', { hold: 'user' });
  const running = ingestion(2, 'running');
  const { deps, chunks } = rig(
    [paused, running],
    [
      { ingestionId: paused.ingestionId, chunks: 12_000 },
      { ingestionId: running.ingestionId, chunks: 2 },
    ],
  );
  expect(await sweepChunks(deps, { olderThanMs: 10 })).toBe(2);
  expect(chunks).toEqual([running.ingestionId, running.ingestionId]);
});
