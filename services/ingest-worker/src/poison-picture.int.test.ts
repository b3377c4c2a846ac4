import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from '@jest/globals';
import { DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import { FlowRig } from './testing/flow-rig.ts';

const PROCESS = new URL('./testing/poisoned-process.ts', import.meta.url).pathname;
/** A chunk is worked as ever three times; then each of two such pictures kills once more. */
const DEATHS = 3 + 2;

/** True when it came to its end, false when it was killed. */
async function drive(folder: string, deaths: number, what: 'all' | 'changes' = 'all'): Promise<boolean> {
  const child = spawn(process.execPath, [PROCESS, folder, String(deaths), what], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
  if (signal === 'SIGKILL') return false;
  expect(code).toBe(0);
  return true;
}

test('pictures that kill the process that decodes them are found, named as failures, and everything else is indexed', async () => {
  const rig = await FlowRig.open();
  try {
    // More than a chunk, so that chunks without fault are worked, and die, beside the one at fault.
    for (let i = 10; i < 90; i++) await rig.write(`${i}.png`, `picture ${i}`);
    await rig.write('20-poison.png', 'KILL one');
    await rig.write('40-poison.png', 'KILL two');
    const ingestionId = await rig.ingest();
    let deaths = 0;
    while (deaths <= DEATHS && !(await drive(rig.folder, deaths))) deaths += 1;
    expect(deaths).toBe(DEATHS);
    expect(await rig.ingestion(ingestionId)).toMatchObject({
      status: 'completed',
      counts: { listed: 82, indexed: expect.any(Number), failed: 2 },
    });
    const { failures } = await rig.ledger.failures(ingestionId, { limit: 10 });
    expect(Object.fromEntries(failures.map(({ key, code }) => [key, code]))).toEqual({
      '20-poison.png': 'picture_kills_decoder',
      '40-poison.png': 'picture_kills_decoder',
    });
    const { report, findings } = await rig.audit();
    expect(findings).toEqual([]);
    expect(report.agreed).toMatchObject({ indexed: 80, failed: 2 });
  } finally {
    await rig.close();
  }
}, 120_000);

test('changed pictures that kill their worker end as failures, and what was worked beside them is shown', async () => {
  const rig = await FlowRig.open();
  try {
    await rig.write('first.png', 'first');
    await rig.run();
    const keys = Array.from({ length: 80 }, (_, i) => `${10 + i}.png`);
    for (const key of keys) await rig.write(key, `picture ${key}`);
    await rig.write('20-poison.png', 'KILL one');
    await rig.write('40-poison.png', 'KILL two');
    keys.push('20-poison.png', '40-poison.png');
    await rig.notice(keys.map((key) => ({ kind: 'object', bucket: rig.source, keys: [key], changedAt: null })));
    let deaths = 0;
    // What is worked beside one that kills is worked alone afterwards: each of the two dies once more there.
    while (deaths < 20 && !(await drive(rig.folder, deaths, 'changes'))) deaths += 1;
    expect(deaths).toBe(DEATHS);
    const failures = await rig.ledger.changeFailures(DEFAULT_TENANT, { limit: 100 });
    const named = failures.map(({ change, code }) => [change.kind === 'object' && change.key, code]);
    expect(Object.fromEntries(named)).toEqual({
      '20-poison.png': 'picture_kills_decoder',
      '40-poison.png': 'picture_kills_decoder',
    });
    const { report, findings } = await rig.audit();
    expect(findings).toEqual([]);
    expect(report.agreed).toMatchObject({ indexed: 81, failed: 2 });
  } finally {
    await rig.close();
  }
}, 120_000);
