import { parentPort, workerData } from 'node:worker_threads';
import { toSightlineError } from '@sightline/shared/runtime/errors';
import { ChatRefused } from './chat-request.ts';
import type { EngineOrder, FromEngine, ToEngine } from './engine-protocol.ts';
import { Llava } from './llava.ts';

/** The model server's computing thread. */
const { pack, threads } = workerData as EngineOrder;
const tell = (message: FromEngine): void => parentPort!.postMessage(message);

try {
  const llava = await Llava.open(pack, threads);
  parentPort!.on('message', (message: ToEngine) => void answer(llava, message));
  tell({ type: 'loaded', tokensPerImage: llava.tokensPerImage });
} catch (error) {
  const { code, detail } = toSightlineError(error);
  tell({ type: 'load_failed', code, detail: detail ?? '' });
}

async function answer(llava: Llava, { id, asked, isCancelled }: ToEngine): Promise<void> {
  try {
    const ended = await llava.answer(asked, {
      isCancelled: () => Atomics.load(isCancelled, 0) !== 0,
      onToken: (token) => tell({ type: 'token', id, token }),
    });
    tell({ type: 'ended', id, ended });
  } catch (error) {
    if (error instanceof ChatRefused)
      return tell({ type: 'failed', id, code: error.code, message: error.message, status: error.status });
    const { code, message } = toSightlineError(error);
    tell({ type: 'failed', id, code, message, status: null });
  }
}
