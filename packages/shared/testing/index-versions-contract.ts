import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { IndexVersions } from '../src/ports/index-versions.ts';
import type { IndexSpec, VectorIndex } from '../src/ports/vector-index.ts';
import { CONTRACT_SPEC, imageVector, picture, TENANT } from './vector-index-points.ts';

const OTHER_SPEC: IndexSpec = { ...CONTRACT_SPEC, image: { fingerprint: 'sha256:other-image', dimensions: 4 } };

/** Versions of an index that is not there yet; `again` is another process' view of the same. */
export type OpenVersions = () => Promise<{ versions: IndexVersions; again: IndexVersions; close: () => Promise<void> }>;

/** What every IndexVersions does. */
export function describeIndexVersions(name: string, open: OpenVersions): void {
  let versions: IndexVersions;
  let again: IndexVersions;
  let close: () => Promise<void>;
  const opened: VectorIndex[] = [];
  const openIndex = async (version: number, spec?: IndexSpec): Promise<VectorIndex> => {
    const index = await versions.open(version, spec);
    opened.push(index);
    return index;
  };
  beforeEach(async () => {
    ({ versions, again, close } = await open());
  });
  afterEach(async () => {
    for (const index of opened.splice(0)) await index.close();
    await close();
  });

  test(`${name}: without an index no version serves, and none is there`, async () => {
    expect(await versions.serving()).toBeNull();
    expect(await versions.numbers()).toEqual([]);
    await expect(versions.open(1)).rejects.toMatchObject({ code: 'index_unavailable' });
    expect(await versions.numbers()).toEqual([]);
  });

  test(`${name}: the first version is made once, by whoever comes first, and serves`, async () => {
    await Promise.all([versions.found(CONTRACT_SPEC), again.found(CONTRACT_SPEC)]);
    await versions.found(OTHER_SPEC);
    expect(await again.serving()).toBe(1);
    expect((await openIndex(1)).spec).toEqual(CONTRACT_SPEC);
  });

  test(`${name}: a second version is filled beside the first, and serves from one moment to the next, for all`, async () => {
    await versions.found(CONTRACT_SPEC);
    const first = await openIndex(1);
    await first.writePictures([picture('a')]);
    const second = await openIndex(2, OTHER_SPEC);
    expect(second.spec).toEqual(OTHER_SPEC);
    expect(await versions.numbers()).toEqual([1, 2]);
    expect(await versions.serving()).toBe(1);
    await second.writePictures([
      picture('a', { vector: imageVector(1).slice(0, 4) }),
      picture('b', { vector: imageVector(0, 1).slice(0, 4) }),
    ]);
    await versions.serve(2);
    await versions.serve(2);
    expect([await versions.serving(), await again.serving()]).toEqual([2, 2]);
    expect([await first.count(TENANT), await second.count(TENANT)]).toEqual([
      { live: 1, deleted: 0 },
      { live: 2, deleted: 0 },
    ]);
    await versions.found(CONTRACT_SPEC);
    await versions.serve(1);
    expect(await again.serving()).toBe(1);
  });

  test(`${name}: a version is of the spec that it was made for`, async () => {
    await versions.found(CONTRACT_SPEC);
    await openIndex(3, OTHER_SPEC);
    await expect(versions.open(3, CONTRACT_SPEC)).rejects.toMatchObject({ code: 'index_encoder_mismatch' });
    expect((await openIndex(3, OTHER_SPEC)).spec).toEqual(OTHER_SPEC);
  });

  test(`${name}: a version is dropped for good, but for the one that serves`, async () => {
    await versions.found(CONTRACT_SPEC);
    const second = await versions.open(2, OTHER_SPEC);
    await second.close();
    await expect(versions.drop(1)).rejects.toMatchObject({ code: 'internal' });
    await versions.drop(2);
    await versions.drop(2);
    expect(await versions.numbers()).toEqual([1]);
    await expect(versions.open(2)).rejects.toMatchObject({ code: 'index_unavailable' });
  });
}
