import { afterEach, expect, test } from '@jest/globals';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { runAudit } from '../harness/audit-command.ts';
import { ingest, progressOf, startStack, waitForEnd, type Stack } from '../harness/stack.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const manifest = join(root, 'sample/manifest.jsonl');
/** `KILL_SEEDS=1,2,3,4,5,6,7,8,9,10 npm test -- test/faults` for the long run. */
const seeds = (process.env['KILL_SEEDS'] ?? '1,2,3').split(',').map(Number);

let stack: Stack | undefined;
let dataDir = '';
afterEach(async () => {
  await stack?.stop();
  stack = undefined;
  rmSync(dataDir, { recursive: true, force: true });
});

/** The kill falls when this share of the sample is done: the same for a seed on every machine, from the first moments to the last. */
const shareOf = (seed: number) => (seed * 0.618034) % 0.95;

test.each(seeds)(
  'a kill -9 in the middle of an ingestion loses nothing and repeats nothing (seed %i)',
  async (seed) => {
    dataDir = mkdtempSync(join(tmpdir(), 'sightline-kill-'));
    stack = await startStack({ dataDir });
    const ingestionId = await ingest(stack.url, { type: 'manifest', uri: manifest });
    const records = readFileSync(manifest, 'utf8').trim().split('\n').length;
    let before = await progressOf(stack.url, ingestionId);
    while (before.counts.indexed < shareOf(seed) * records) {
      await sleep(20);
      before = await progressOf(stack.url, ingestionId);
    }
    await stack.kill();
    expect(before.status).not.toBe('completed');

    stack = await startStack({ dataDir });
    const end = await waitForEnd(stack.url, ingestionId);
    expect(end.status).toBe('completed');
    const { listed, indexed, unchanged, duplicate, failed } = end.counts;
    expect(indexed + unchanged + duplicate + failed).toBe(listed);
    expect(failed).toBe(0);
    await stack.stop();
    stack = undefined;

    // The folder may just be looked through once more, now that it is watched.
    const audit = await runAudit({ DATA_DIR: dataDir });
    expect(audit).toMatchObject({ clean: true, tenants: [{ list: [], running: expect.not.arrayContaining([ingestionId]) }] });
  },
  240_000,
);
