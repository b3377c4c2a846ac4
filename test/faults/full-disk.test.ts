import { afterEach, expect, test } from '@jest/globals';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { runAudit } from '../harness/audit-command.ts';
import { ProductionStack, stackMissing } from '../harness/production-stack.ts';
import { SEED, seeded } from '@sightline/shared/testing/seeded';
import { openSmallDisk, smallDiskMissing, type SmallDisk } from '../harness/small-disk.ts';
import { ingest, progressOf, startStack, waitForEnd } from '../harness/stack.ts';
import { tinyJpeg } from '../harness/tiny-pictures.ts';
import { expectWhole } from './oracle.ts';

const OBJECTS = 400;
const TIMEOUT_MS = 600_000;
const MIB = 1024 ** 2;

const named = (name: string, why: string | null): string => `${name} (seed ${SEED})${why ? ` (${why})` : ''}`;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function smallDisk(sizeBytes: number): SmallDisk {
  const disk = openSmallDisk(sizeBytes);
  cleanups.push(() => disk.close());
  return disk;
}

const whyNoStack = stackMissing ?? smallDiskMissing;
(whyNoStack ? test.skip : test)(
  named('services whose index and temporary files are on a full disk go on once there is room', whyNoStack),
  async () => {
    const random = seeded(SEED);
    const disk = smallDisk(64 * MIB);
    mkdirSync(join(disk.path, 'data'));
    mkdirSync(join(disk.path, 'temporary'));
    const stack = await ProductionStack.open({
      index: 'sqlite',
      dataDir: join(disk.path, 'data'),
      env: { HIGH_WATER_CHUNKS: '3', TMPDIR: join(disk.path, 'temporary') },
    });
    cleanups.push(() => stack.close());
    const bucket = stack.newBucket();
    await bucket.putPictures(OBJECTS);
    const ingestionId = await stack.ingest(bucket.source);
    // Once while pictures are written, once about when sources and index are compared.
    const isNoticed = (): boolean => stack.process('encode-bulk').output.includes('The disk is full');
    for (const share of [random.next() * 0.4, 0.95]) {
      await stack.waitForDone(ingestionId, Math.floor(share * OBJECTS));
      disk.fill(0);
      await sleep(random.whole(1_000, 4_000));
      // Files that had room left in them are full a moment later.
      for (let looks = 0; looks < 200 && share < 0.9 && !isNoticed(); looks++) await sleep(100);
      disk.free();
    }
    expect(isNoticed()).toBe(true);
    await expectWhole(stack, ingestionId, { listed: OBJECTS });
    expect(await stack.stopAll()).toEqual([]);
  },
  TIMEOUT_MS,
);

(smallDiskMissing ? test.skip : test)(
  named('the embedded stack on a full disk goes on once there is room', smallDiskMissing),
  async () => {
    const random = seeded(SEED);
    const disk = smallDisk(256 * MIB);
    const pictures = join(disk.path, 'pictures');
    mkdirSync(pictures);
    for (let n = 0; n < OBJECTS; n++) writeFileSync(join(pictures, `${n}.jpg`), await tinyJpeg(n));
    const dataDir = join(disk.path, 'data');
    mkdirSync(dataDir);
    const stack = await startStack({ dataDir });
    cleanups.push(() => stack.kill());
    const ingestionId = await ingest(stack.url, { type: 'directory', path: pictures });
    while ((await progressOf(stack.url, ingestionId)).counts.indexed === 0) await sleep(20);
    disk.fill(0);
    await sleep(random.whole(1_000, 4_000));
    expect((await progressOf(stack.url, ingestionId)).status).not.toBe('completed');
    // Its picture is put into the object store, which has room for it or says that it has not.
    expect(await searchByPicture(stack.url)).toMatch(/^(200|503 object_store_unavailable)$/);
    disk.free();
    expect(await searchByPicture(stack.url)).toBe('200');
    const { status, counts } = await waitForEnd(stack.url, ingestionId);
    expect({ status, listed: counts.listed, failed: counts.failed }).toEqual({ status: 'completed', listed: OBJECTS, failed: 0 });
    const audit = await runAudit({ DATA_DIR: dataDir });
    expect(audit).toMatchObject({ clean: true, tenants: [{ agreed: { indexed: OBJECTS } }] });
    expect(await stack.stop()).toBe(0);
  },
  TIMEOUT_MS,
);

/** Status, and the problem's code where there is one. */
async function searchByPicture(url: string): Promise<string> {
  const data = `data:image/jpeg;base64,${(await tinyJpeg(7)).toString('base64')}`;
  const response = await fetch(`${url}/v1/search`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ image: { data } }),
  });
  const answer = z.looseObject({ code: z.string().optional() }).parse(await response.json());
  return [response.status, answer.code].filter(Boolean).join(' ');
}
