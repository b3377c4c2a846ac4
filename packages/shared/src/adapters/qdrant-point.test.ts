import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { expectedOutcomes, outcomeOf } from '../../testing/vector-index-model.ts';
import { raceSteps } from '../../testing/vector-index-race.ts';
import type { Step } from '../../testing/vector-index-model.ts';
import { deletionChange, newPoint, pictureChange, recordChange, type PointChange } from './qdrant-point-change.ts';
import { assetIdOf, pointId, toAssetPoint, type StoredPoint } from './qdrant-point.ts';

const SEED = 20261123;

function changeOf(step: Step): PointChange {
  if (step.type === 'picture') return pictureChange(step.write, step.write.vector);
  return step.type === 'record' ? recordChange(step.write, step.write.vector) : deletionChange(step.write);
}

test.each([1, 2, 3, 4, 5])('steps in any order leave the point that the versions say (seed %i)', (seed) => {
  const steps = raceSteps(seed);
  const points = new Map<string, StoredPoint>();
  for (const step of steps) {
    const { tenant, assetId } = step.write;
    const before = points.get(assetId) ?? newPoint(pointId(tenant, assetId) ?? '', tenant);
    const after = changeOf(step)(before);
    if (after === null) continue;
    expect(after.payload.stamp).not.toBe(before.payload.stamp);
    points.set(assetId, after);
  }
  const outcomes = new Map([...points].map(([assetId, point]) => [assetId, outcomeOf(toAssetPoint(point, true))]));
  expect(outcomes).toEqual(expectedOutcomes(steps));
});

test('a point of one tenant is no point of another, keeps its place in the order, and gives its asset back', () => {
  fc.assert(
    fc.property(fc.uuid(), fc.uuid(), fc.string(), fc.string(), (a, b, tenant, other) => {
      const id = pointId(tenant, a) ?? '';
      expect(id).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
      expect(assetIdOf(tenant, id)).toBe(a);
      if (tenant !== other) expect(pointId(other, a)).not.toBe(id);
      if (a.slice(0, 18) !== b.slice(0, 18)) expect(id < (pointId(tenant, b) ?? '')).toBe(a < b);
    }),
    { seed: SEED, numRuns: 500 },
  );
});

test('what is no asset id has no point', () => {
  for (const text of ['', 'a', 'not-a-uuid', '00000000-0000-5000-8000-00000000000', 'ABCDEF00-0000-5000-8000-000000000000'])
    expect(pointId('acme', text)).toBeNull();
});
