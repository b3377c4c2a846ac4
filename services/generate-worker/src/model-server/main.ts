/** The model server's process: its parent sends where to listen and which pack to serve, and is told the port and what the pack is. It ends with its parent. */
import { z } from 'zod';
import { toSightlineError } from '@sightline/shared/runtime/errors';
import { ModelEngine } from './model-engine.ts';
import { readModelPack } from './model-pack.ts';
import { startModelServer } from './model-server.ts';

const order = z.strictObject({ port: z.int(), apiKey: z.string(), packDirectory: z.string() });

process.once('disconnect', () => process.exit(0));
// A terminal's Ctrl-C and a supervisor's TERM reach the whole group; answers that are on their way are waited for, and the parent ends this.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.once('message', (message) => void serve(order.parse(message)));

async function serve({ packDirectory, ...options }: z.infer<typeof order>): Promise<void> {
  try {
    const pack = await readModelPack(packDirectory);
    const engine = await ModelEngine.open(pack);
    // Another process is started for one whose thread is gone.
    void engine.lost().then(end);
    const deps = { pack, engine };
    const { port } = await startModelServer(options, deps).catch((error: NodeJS.ErrnoException) => {
      // Another process may have come by the port while this was started again.
      if (error.code === 'EADDRINUSE') return startModelServer({ ...options, port: 0 }, deps);
      throw error;
    });
    const { name: model, maxImages, boxFrame, contextTokens, plan, answersYesNo: logprobs } = pack;
    const profile = {
      model,
      maxImages,
      imageSidePx: plan.input.widthPx,
      boxFrame,
      logprobs,
      contextTokens,
      tokensPerImage: engine.tokensPerImage,
    };
    process.send?.({ port, profile });
  } catch (error) {
    const { code, detail } = toSightlineError(error);
    process.send?.({ code, detail }, () => end(error));
  }
}

function end(error: unknown): void {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`, () => process.exit(1));
}
