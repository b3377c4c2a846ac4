import * as fc from 'fast-check';
import type { VectorIndex } from '../src/ports/vector-index.ts';
import type { Step } from './vector-index-model.ts';
import { deletion, imageVector, itemRecord, picture, pictureRecord, textVector } from './vector-index-points.ts';

const ASSETS = 12;
const WRITERS = 6;
const STEPS = 400;

/** Steps of many writers on few assets. Versions are handed out in order, arrivals are not in order. */
export function raceSteps(seed: number): Step[] {
  const [choices = []] = fc.sample(
    fc.array(fc.record({ asset: fc.nat(ASSETS - 1), kind: fc.nat(9), noVector: fc.nat(4), place: fc.nat(1_000_000) }), {
      minLength: STEPS,
      maxLength: STEPS,
    }),
    { seed, numRuns: 1 },
  );
  return choices
    .map(({ asset, kind, noVector, place }, i) => {
      const key = `raced-${asset}`;
      const version = i + 1;
      return { step: stepOf(key, version, kind, noVector === 0), place };
    })
    .toSorted((a, b) => a.place - b.place)
    .map(({ step }) => step);
}

function stepOf(key: string, version: number, kind: number, noVector: boolean): Step {
  if (kind < 4) {
    const object = { bucket: 'pictures', key, eTag: `etag-${version}` };
    return {
      type: 'picture',
      write: picture(key, {
        object,
        sha256: `${version}`.padStart(64, '0'),
        imageVersion: version,
        vector: imageVector(1, version),
      }),
    };
  }
  if (kind < 8) {
    const vector = noVector ? null : textVector(version, 1);
    const records = [itemRecord(`item-${version}`, `version${version}`, { version })];
    return { type: 'record', write: pictureRecord(key, records, { recordVersion: version, vector }) };
  }
  const object = { bucket: 'pictures', key, eTag: `etag-${version}` };
  return { type: 'delete', write: deletion(key, version, { reason: kind === 8 ? 'gone' : 'failed', object }) };
}

/** One writer: its steps in batches of neighbours of one type, one batch after the other. */
async function runWriter(index: VectorIndex, steps: Step[]): Promise<void> {
  for (let from = 0; from < steps.length;) {
    const type = steps[from]?.type;
    const until = steps.findIndex((step, i) => i > from && step.type !== type);
    const batch = steps.slice(from, until === -1 ? undefined : until);
    await index.writePictures(batch.flatMap((step) => (step.type === 'picture' ? [step.write] : [])));
    await index.writeRecords(batch.flatMap((step) => (step.type === 'record' ? [step.write] : [])));
    await index.delete(batch.flatMap((step) => (step.type === 'delete' ? [step.write] : [])));
    from += batch.length;
  }
}

/** Runs this process's share of the steps from concurrent writers. */
export async function race(index: VectorIndex, steps: Step[], share = { no: 0, of: 1 }): Promise<void> {
  const own = steps.filter((_, i) => i % share.of === share.no);
  const writers = Array.from({ length: WRITERS }, (_, w) => own.filter((_step, i) => i % WRITERS === w));
  await Promise.all(writers.map((some) => runWriter(index, some)));
}
