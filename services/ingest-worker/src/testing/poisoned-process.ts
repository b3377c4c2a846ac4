import { FlowRig } from './flow-rig.ts';

/**
 * Drives the flow of a rig's folder to its end, in a process that a picture can kill: `FOLDER DEATHS`, the latter being how
 * many died before. Fake, named so: pictures that begin with `KILL` end the process at once, as a fault of a decoder's does.
 */
const [folder = '', deaths = '0'] = process.argv.slice(2);
const rig = await FlowRig.open(folder);
for (let i = 0; i < Number(deaths); i++) rig.passLeases();
const decode = rig.encoder.decode.bind(rig.encoder);
rig.encoder.decode = async (bytes) => {
  // Later than the others that are under way, as a decoder that first reads a while.
  if (Buffer.from(bytes).toString('latin1', 0, 4) === 'KILL') {
    await new Promise((resolve) => setTimeout(resolve, 20));
    process.kill(process.pid, 'SIGKILL');
  }
  return decode(bytes);
};
await rig.drive();
await rig.leave();
