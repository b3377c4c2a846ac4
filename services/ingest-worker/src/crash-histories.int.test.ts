import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import type { SightlineEvent } from '@sightline/shared/contracts/events';
import { DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { Crash, FlowRig } from './testing/flow-rig.ts';

const KEYS = ['a.png', 'a-b/c.png', 'a/c.png', 'd/e/f.png'];
const ITEMS = ['A', 'B', 'C'];

const write = fc.record({
  type: fc.constant('write' as const),
  key: fc.constantFrom(...KEYS),
  content: fc.constantFrom('one', 'two', 'three', 'four', 'five', 'BAD'),
});
const remove = fc.record({ type: fc.constant('remove' as const), key: fc.constantFrom(...KEYS) });
/** A user removes an item, where it is indexed. */
const forget = fc.record({ type: fc.constant('forget' as const), itemId: fc.constantFrom(...ITEMS) });
const describe = fc.record({
  type: fc.constant('describe' as const),
  lines: fc.array(
    fc.record({
      item_id: fc.constantFrom(...ITEMS),
      title: fc.constantFrom('', 'Title', 'Other'),
      text: fc.constantFrom('', 'One.', 'One. Two.', 'Two. One. Three.'),
      images: fc.uniqueArray(fc.constantFrom(...KEYS), { maxLength: 3 }),
    }),
    { maxLength: 4 },
  ),
});
/** `crashes`: the process dies at that many calls from its start, before or after the call's effect; then it is started again. */
const ingest = fc.record({
  type: fc.constant('ingest' as const),
  what: fc.constantFrom('directory' as const, 'manifest' as const),
  crashes: fc.array(
    fc.record({ at: fc.integer({ min: 1, max: 45 }), when: fc.constantFrom('before' as const, 'after' as const) }),
    {
      maxLength: 3,
    },
  ),
});
/** Begins with something that is indexed: what changes and goes must have been there. */
const history = fc
  .tuple(
    fc.array(write, { minLength: 3, maxLength: 5 }),
    describe,
    ingest,
    fc.array(
      fc.oneof({ weight: 3, arbitrary: write }, { weight: 2, arbitrary: remove }, describe, forget, {
        weight: 2,
        arbitrary: ingest,
      }),
      {
        minLength: 3,
        maxLength: 9,
      },
    ),
  )
  .map(([writes, described, ingested, more]) => [...writes, described, ingested, ...more]);

const RUNS = Number(process.env['SIGHTLINE_CRASH_RUNS'] ?? 12);

/** Passes over the item's not being indexed. */
function unlessAbsent(error: unknown): void {
  if (!(error instanceof SightlineError && error.code === 'item_not_found')) throw error;
}

async function driveThrough(rig: FlowRig, crashes: { at: number; when: 'before' | 'after' }[]): Promise<void> {
  for (const { at, when } of crashes) {
    let calls = 0;
    rig.onCall = (_, seen) => {
      if (seen === when && ++calls === at) throw new Crash();
    };
    try {
      await rig.drive();
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      rig.passLeases();
    }
  }
  rig.onCall = () => {};
  await rig.drive();
}

/** What a consumer of the events knows: of each live asset its items. */
class EventMirror {
  readonly #states = new Map<string, { version: number; itemIds: string[] | null }>();

  apply(event: SightlineEvent): void {
    if (event.type !== 'asset.indexed' && event.type !== 'asset.deleted') return;
    const { data } = event;
    const version = 'version' in data ? data.version : Math.max(data.image_version, data.record_version);
    // As docs/events.md has it: what is older than what is known is passed over.
    if (version < (this.#states.get(event.subject)?.version ?? 0)) return;
    this.#states.set(event.subject, { version, itemIds: event.type === 'asset.indexed' ? data.item_ids : null });
  }

  assets(): Record<string, string[]> {
    return inOrder([...this.#states].flatMap(([id, { itemIds }]) => (itemIds ? [[id, itemIds]] : [])));
  }
}

async function liveAssets(rig: FlowRig): Promise<Record<string, string[]>> {
  const points = await rig.index.scan(DEFAULT_TENANT, { limit: 1_000 });
  const live = points.filter(({ deleted }) => !deleted);
  return inOrder(live.map(({ assetId, records }) => [assetId, records.map(({ itemId }) => itemId)]));
}

function inOrder(entries: [string, string[]][]): Record<string, string[]> {
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

test(
  'whatever happened and wherever the process died, the index ends as the sources are, and the events told of it',
  async () => {
    await fc.assert(
      fc.asyncProperty(history, async (steps) => {
        const rig = await FlowRig.open();
        const mirror = new EventMirror();
        await rig.events.subscribe('mirror', async (events) => events.forEach((event) => mirror.apply(event)));
        try {
          const sourceOf = (what: 'directory' | 'manifest') =>
            what === 'directory'
              ? ({ type: 'directory', path: rig.source } as const)
              : ({ type: 'manifest', uri: `${rig.source}/m.jsonl` } as const);
          const ingested = new Set<'directory' | 'manifest'>();
          for (const step of steps) {
            if (step.type === 'write') await rig.write(step.key, step.content);
            else if (step.type === 'remove') await rig.remove(step.key);
            else if (step.type === 'forget') await rig.removeItem(step.itemId).catch(unlessAbsent);
            else if (step.type === 'describe')
              await rig.write('m.jsonl', step.lines.map((line) => JSON.stringify(line)).join('\n'));
            else {
              ingested.add(step.what);
              await rig.ingest(sourceOf(step.what));
              await driveThrough(rig, step.crashes);
              // With one source there is nothing that another would have to put right.
              if (ingested.size === 1) expect((await rig.audit()).findings).toEqual([]);
            }
          }
          // The present state of everything that was ever ingested is read once more, without a crash.
          for (const what of ingested) {
            const { status, counts } = await rig.run(sourceOf(what));
            if (status !== 'completed') continue;
            const { listed, indexed, unchanged, duplicate, failed } = counts;
            expect(indexed + unchanged + duplicate + failed).toBe(listed);
          }
          expect((await rig.audit()).findings).toEqual([]);
          expect(await rig.ledger.countOutstandingChunks()).toBe(0);
          await new Promise((resolve) => setTimeout(resolve, 5));
          expect(mirror.assets()).toEqual(await liveAssets(rig));
        } finally {
          await rig.close();
        }
      }),
      {
        numRuns: RUNS,
        seed: Number(process.env['SIGHTLINE_CRASH_SEED'] ?? 20261123),
        endOnFailure: false,
      },
    );
  },
  RUNS * 10_000,
);
