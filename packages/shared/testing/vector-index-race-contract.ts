import { expect, test } from '@jest/globals';
import type { VectorIndex } from '../src/ports/vector-index.ts';
import { expectedOutcomes, outcomeOf, type Step } from './vector-index-model.ts';
import { assetIdOf, imageVector, picture, TENANT, textVector } from './vector-index-points.ts';
import { race, raceSteps } from './vector-index-race.ts';

/** The index holds what the model says, in its points and in what each leg finds. */
export async function expectRaceWon(index: VectorIndex, steps: Step[]): Promise<void> {
  const expected = expectedOutcomes(steps);
  const points = await index.scan(TENANT, { limit: 1_000, withVectors: true });
  expect(points.map(outcomeOf)).toEqual([...expected.values()].toSorted((a, b) => (a.assetId < b.assetId ? -1 : 1)));

  const outcomes = [...expected.values()];
  const live = outcomes.filter((outcome) => !outcome.deleted).length;
  expect(await index.count(TENANT)).toEqual({ live, deleted: outcomes.length - live });
  const [image = [], text = []] = await index.search(TENANT, undefined, [
    { space: 'image', vector: imageVector(1), limit: 1_000 },
    { space: 'text', vector: textVector(1), limit: 1_000 },
  ]);
  const idsWith = (has: 'hasImage' | 'hasText') => outcomes.filter((outcome) => outcome[has]).map((outcome) => outcome.assetId);
  expect(image.map((hit) => hit.assetId).toSorted()).toEqual(idsWith('hasImage').toSorted());
  expect(text.map((hit) => hit.assetId).toSorted()).toEqual(idsWith('hasText').toSorted());
  // Of all the versions that were ever written, words and attributes find the newest alone.
  const keywords = steps.map((_, i) => `version${i + 1}`);
  const [byWord = []] = await index.search(TENANT, undefined, [{ space: 'keywords', keywords, limit: 1_000 }]);
  const withRecord = outcomes.filter((outcome) => outcome.records.length > 0);
  expect(byWord.map((hit) => hit.assetId).toSorted()).toEqual(withRecord.map((outcome) => outcome.assetId).toSorted());
  for (const { assetId, records, recordVersion } of withRecord) {
    expect((await index.findByItem(TENANT, records[0]?.itemId ?? '')).map((point) => point.assetId)).toEqual([assetId]);
    const [byValue] = await index.search(TENANT, { version: recordVersion }, [{ space: 'keywords', keywords, limit: 9 }]);
    expect(byValue?.map((hit) => hit.assetId)).toEqual([assetId]);
  }
}

/** The racing part of the contract: halves and deletions of the same points, written at once and out of order. */
export function describeIndexRaces(name: string, index: () => VectorIndex): void {
  test.each([11, 12, 13])(`${name}: racing writers of halves and deletions end as the versions say (seed %i)`, async (seed) => {
    const steps = raceSteps(seed);
    await race(index(), steps);
    await expectRaceWon(index(), steps);
  });

  test(`${name}: a search beside writers never sees a point without its picture's payload`, async () => {
    const key = 'busy';
    const progress = { isWriting: true };
    const writing = (async () => {
      for (let version = 1; version <= 60; version++)
        await index().writePictures([
          picture(key, { imageVersion: version, sizeBytes: version, vector: imageVector(1, version) }),
        ]);
      progress.isWriting = false;
    })();
    while (progress.isWriting) {
      const point = (await index().get(TENANT, [assetIdOf(key)], { withVectors: true })).get(assetIdOf(key));
      if (!point) continue;
      expect(point.sizeBytes).toBe(point.imageVersion);
      imageVector(1, point.imageVersion).forEach((x, i) => expect(point.vectors?.image?.[i]).toBeCloseTo(x, 6));
    }
    await writing;
  });
}
