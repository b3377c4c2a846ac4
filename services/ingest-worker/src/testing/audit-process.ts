import { FlowRig } from './flow-rig.ts';

/** Carries out an audit of a rig's folder in a process of its own, says `grace` when it waits for the second look, and waits for ever. */
const [folder = '', tenant = '', auditId = ''] = process.argv.slice(2);
const rig = await FlowRig.open(folder);
const sleep = async (ms: number, signal?: AbortSignal): Promise<void> => {
  if (ms === 60_000) process.stdout.write('grace\n');
  await new Promise<void>((resolve) => {
    setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => resolve());
  });
};
await rig.runAudit({ tenant, auditId }, { sleep });
await rig.leave();
