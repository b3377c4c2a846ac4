/** The model server's process: its parent sends where to listen, and is told the port. It ends with its parent. */
import { z } from 'zod';
import { startModelServer } from './model-server.ts';

const order = z.strictObject({ port: z.int(), apiKey: z.string() });

process.once('disconnect', () => process.exit(0));
// A terminal's Ctrl-C and a supervisor's TERM reach the whole group; answers that are on their way are waited for, and the parent ends this.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.once('message', (message) => {
  startModelServer(order.parse(message)).then(
    ({ port }) => process.send?.({ port }),
    (error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
      process.exit(1);
    },
  );
});
