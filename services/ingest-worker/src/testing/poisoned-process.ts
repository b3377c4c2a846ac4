import { FlowRig } from './flow-rig.ts';

/**
 * Drives the flow of a rig's folder to its end, or with `changes` what is owed of changes, by two workers at once, in a process that a
 * picture can kill: `FOLDER DEATHS [changes]`, the second being how many died before. Fake, named so: pictures that begin with `KILL` end the process at once, as a fault of a decoder's does.
 */
const [folder = '', deaths = '0', what] = process.argv.slice(2);
const rig = await FlowRig.open(folder);
// Twice: the one before may have let time pass itself.
for (let i = 0; i < 2 * Number(deaths); i++) rig.passLeases();
const decode = rig.encoder.decode.bind(rig.encoder);
rig.encoder.decode = async (bytes) => {
  // Later than the others that are under way, as a decoder that first reads a while.
  if (Buffer.from(bytes).toString('latin1', 0, 4) === 'KILL') {
    await new Promise((resolve) => setTimeout(resolve, 20));
    process.kill(process.pid, 'SIGKILL');
  }
  return decode(bytes);
};
if (what === 'changes') {
  rig.shareFeed();
  await Promise.all([rig.driveChanges(), rig.driveChanges()]);
} else await rig.drive();
await rig.leave();
