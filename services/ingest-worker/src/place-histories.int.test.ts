import { expect, test } from '@jest/globals';
import type { Source } from '@sightline/shared/contracts/records';
import * as fc from 'fast-check';
import { Crash, FlowRig } from './testing/flow-rig.ts';

const BUCKET = 'shop';
const KEYS = ['a/1.png', 'a/2.png', 'b/1.png', 'c.png'];
/** Manifests of three folders, of which one holds the others, and what each can name. */
const MANIFESTS = { 'a/m.jsonl': ['1.png', '2.png'], 'b/m.jsonl': ['1.png'], 'm.jsonl': ['a/1.png', 'b/1.png', 'c.png'] };
type ManifestKey = keyof typeof MANIFESTS;
const MANIFEST_KEYS = ['a/m.jsonl', 'b/m.jsonl', 'm.jsonl'] as const satisfies ManifestKey[];
const SOURCES: Source[] = [
  { type: 'prefix', bucket: BUCKET, prefix: '' },
  { type: 'prefix', bucket: BUCKET, prefix: 'a/' },
  { type: 'prefix', bucket: BUCKET, prefix: 'b/' },
  ...MANIFEST_KEYS.map((key) => ({ type: 'manifest' as const, uri: `s3://${BUCKET}/${key}` })),
];

const write = fc.record({
  type: fc.constant('write' as const),
  key: fc.constantFrom(...KEYS),
  content: fc.constantFrom('one', 'two', 'three', 'BAD'),
});
const remove = fc.record({ type: fc.constant('remove' as const), key: fc.constantFrom(...KEYS, ...MANIFEST_KEYS) });
/** An item can stand in several manifests, and move from one to another. */
const describe = fc.constantFrom(...MANIFEST_KEYS).chain((key) =>
  fc.record({
    type: fc.constant('describe' as const),
    key: fc.constant(key),
    lines: fc.array(
      fc.record({
        item_id: fc.constantFrom('A', 'B'),
        title: fc.constantFrom('Title', 'Other'),
        text: fc.constantFrom('', 'One. Two.', 'Two. One. Three.'),
        images: fc.uniqueArray(fc.constantFrom(...MANIFESTS[key]), { maxLength: 3 }),
      }),
      { maxLength: 3 },
    ),
  }),
);
/** One or more at once. The process dies at these calls of the ports, and is started again. */
const ingest = fc.record({
  type: fc.constant('ingest' as const),
  sources: fc.uniqueArray(fc.nat(SOURCES.length - 1), { minLength: 1, maxLength: 3 }),
  crashes: fc.array(
    fc.record({ at: fc.integer({ min: 1, max: 60 }), when: fc.constantFrom('before' as const, 'after' as const) }),
    { maxLength: 2 },
  ),
});
const history = fc
  .tuple(
    fc.array(write, { minLength: 3, maxLength: 5 }),
    fc.array(describe, { minLength: 2, maxLength: 4 }),
    ingest,
    fc.array(
      fc.oneof({ weight: 2, arbitrary: write }, remove, { weight: 2, arbitrary: describe }, { weight: 3, arbitrary: ingest }),
      { minLength: 3, maxLength: 8 },
    ),
  )
  .map(([writes, described, ingested, more]) => [...writes, ...described, ingested, ...more]);

const RUNS = Number(process.env['SIGHTLINE_CRASH_RUNS'] ?? 12);

async function driveThrough(rig: FlowRig, crashes: { at: number; when: 'before' | 'after' }[]): Promise<void> {
  for (const { at, when } of crashes) {
    let calls = 0;
    rig.onCall = (_, seen) => {
      if (seen === when && ++calls === at) throw new Crash();
    };
    await rig.drive().catch((error: unknown) => {
      if (!(error instanceof Crash)) throw error;
      rig.passLeases();
    });
  }
  rig.onCall = () => {};
  await rig.drive();
}

test(
  'sources that overlap, lie apart and share items end as they are, whatever went on beside each other',
  async () => {
    await fc.assert(
      fc.asyncProperty(history, async (steps) => {
        const rig = await FlowRig.open();
        try {
          const ingested = new Set<number>();
          for (const step of steps) {
            if (step.type === 'write') await rig.put(BUCKET, step.key, step.content);
            else if (step.type === 'remove') await rig.store.delete({ bucket: BUCKET, key: step.key });
            else if (step.type === 'describe')
              await rig.put(BUCKET, step.key, step.lines.map((line) => JSON.stringify(line)).join('\n'));
            else {
              for (const no of step.sources) {
                ingested.add(no);
                const source = SOURCES[no];
                if (source) await rig.ingest(source);
              }
              await driveThrough(rig, step.crashes);
            }
          }
          for (const no of ingested) await rig.run(SOURCES[no]);
          const { findings, report } = await rig.audit();
          // A manifest that was deleted is no source any more: what it named goes with it, all else is right.
          expect({ findings, unreadable: report.unreadable }).toEqual({ findings: [], unreadable: [] });
          expect(await rig.ledger.countOutstandingChunks()).toBe(0);
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
