import { expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FlowRig } from '@sightline/ingest-worker/testing/flow-rig';

function audit(dataDir: string, ...flags: string[]): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const script = fileURLToPath(new URL('./audit.ts', import.meta.url));
  const env = { ...process.env, DATA_DIR: dataDir, NODE_OPTIONS: '--disable-warning=ExperimentalWarning' };
  return new Promise((resolve) => {
    execFile(process.execPath, [script, ...flags], { env }, (error, stdout, stderr) => {
      resolve({ exitCode: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

test('exits with 0 only when sources and index agree, beside the open stores; --repair sets them right', async () => {
  const rig = await FlowRig.open();
  const dataDir = join(rig.folder, 'data');
  try {
    await rig.write('a.png', 'one');
    await rig.write('b.png', 'two');
    await rig.run();
    expect(await audit(dataDir)).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('agree.') });
    await rig.remove('a.png');
    await rig.write('c.png', 'three');
    const json = await audit(dataDir, '--json');
    expect(json.exitCode).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({
      clean: false,
      tenants: [{ tenant: 'default', findings: { missing: 1, extra: 1, stale: 0, duplicate: 0, malformed: 0 } }],
    });
    expect((await audit(dataDir, '--repair')).exitCode).toBe(1);
    await rig.driveChanges();
    expect((await audit(dataDir)).exitCode).toBe(0);
  } finally {
    await rig.close();
  }
});

test('exits with 2 and says what to do where nothing was ingested', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-audit-'));
  try {
    expect(await audit(folder)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('DATA_DIR') });
  } finally {
    await rm(folder, { recursive: true });
  }
});
