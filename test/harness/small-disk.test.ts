import { expect, test } from '@jest/globals';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSmallDisk, smallDiskMissing } from './small-disk.ts';

const name = 'a small disk is full when it is filled, has room again when it is freed, and is gone when it is closed';
(smallDiskMissing ? test.skip : test)(smallDiskMissing ? `${name} (${smallDiskMissing})` : name, () => {
  const disk = openSmallDisk(4 * 1024 ** 2);
  try {
    const write = () => writeFileSync(join(disk.path, 'file'), Buffer.alloc(1024 ** 2));
    disk.fill(64 * 1024);
    expect(write).toThrow('ENOSPC');
    disk.free();
    write();
  } finally {
    disk.close();
  }
  expect(existsSync(disk.path)).toBe(false);
});
