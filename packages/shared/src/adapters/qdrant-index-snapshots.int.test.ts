import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openQdrantRoom, type QdrantRoom } from '../../testing/qdrant-room.ts';
import { qdrantMissing } from '../../testing/qdrant-server.ts';
import {
  assetIdOf,
  CONTRACT_SPEC,
  deletion,
  imageVector,
  itemRecord,
  picture,
  pictureRecord,
  TENANT,
} from '../../testing/vector-index-points.ts';
import { QdrantIndexSnapshots } from './qdrant-index-snapshots.ts';
import { collectionBehind } from './qdrant-vector-index-format.ts';

const suite = qdrantMissing ? describe.skip : describe;

suite(qdrantMissing ? `qdrant snapshots (${qdrantMissing})` : 'qdrant snapshots', () => {
  let room: QdrantRoom;
  beforeAll(async () => {
    room = await openQdrantRoom();
  }, 120_000);
  afterEach(() => room.clear());
  afterAll(() => room.close());

  test('a snapshot that was copied away brings the index back', async () => {
    const alias = room.newAlias();
    const dir = await mkdtemp(join(tmpdir(), 'sightline-snapshot-'));
    room.onClear(() => rm(dir, { recursive: true }));
    const index = await room.open(alias, { spec: CONTRACT_SPEC });
    await index.writePictures([picture('a'), picture('b')]);
    await index.writeRecords([pictureRecord('a', [itemRecord('a', 'shoe', { colour: 'red' })])]);
    const snapshots = new QdrantIndexSnapshots(room.server, alias);
    room.onClear(() => snapshots.close());
    const made = await snapshots.create();
    expect(await snapshots.list()).toMatchObject([{ name: made.name, sha256: made.sha256 }]);
    const file = join(dir, made.name);
    await snapshots.download(made, file);
    await snapshots.delete(made.name);
    expect(await snapshots.list()).toEqual([]);

    // Lost in the meantime, by a mistake that the backup is for.
    await index.deleteTenant(TENANT);
    const restored = await snapshots.restore(file, made.sha256);
    expect(restored).toEqual({ collection: `${alias}-2`, previous: `${alias}-1`, points: 2 });
    const again = await room.open(alias, { spec: CONTRACT_SPEC });
    expect(await again.count(TENANT)).toEqual({ live: 2, deleted: 0 });
    const legs = await again.search(TENANT, { colour: 'red' }, [
      { space: 'image', vector: imageVector(1), limit: 5 },
      { space: 'keywords', keywords: ['shoe'], limit: 5 },
    ]);
    expect(legs.map((hits) => hits.map((hit) => hit.assetId))).toEqual([[assetIdOf('a')], [assetIdOf('a')]]);
    await again.delete([deletion('a', 9)]);
    expect(await again.count(TENANT)).toEqual({ live: 1, deleted: 1 });

    const bytes = await readFile(file);
    await writeFile(file, bytes.fill(1, bytes.length / 2));
    await expect(snapshots.restore(file, made.sha256)).rejects.toMatchObject({ code: 'store_damaged' });
    await writeFile(file, 'no snapshot');
    await expect(snapshots.restore(file, null)).rejects.toMatchObject({ code: 'store_damaged' });
    expect(await collectionBehind(room.admin, alias)).toBe(`${alias}-2`);
  });
});
