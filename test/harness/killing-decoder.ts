/**
 * A fake, and named so: loaded into an encode worker before its own code (`NODE_OPTIONS=--import`), it makes pictures that begin
 * with `KILL` end the process at once, as a fault in a decoder's machine code does. Everything else of the worker is as it is.
 */
import { SharpDecoder } from '@sightline/shared/adapters/sharp-decoder';

/** Later than the others that are under way, as a decoder that first reads a while. */
const READS_MS = 20;

const decode = SharpDecoder.prototype.decode;
SharpDecoder.prototype.decode = async function decodeOrKill(bytes) {
  if (Buffer.from(bytes).toString('latin1', 0, 4) === 'KILL') {
    await new Promise((resolve) => setTimeout(resolve, READS_MS));
    process.kill(process.pid, 'SIGKILL');
  }
  return decode.call(this, bytes);
};
