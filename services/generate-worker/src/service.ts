import type { RunningService } from '@sightline/shared/runtime/lifecycle';
import type { QueueEngine } from '@sightline/shared/ports/queue-engine';

/** Takes no jobs yet: question answering brings its job. Ready while the queue answers. */
export async function startGenerateWorker(deps: { queue: QueueEngine }): Promise<RunningService> {
  return { name: 'generate-worker', ready: () => deps.queue.ping(), close: async () => undefined };
}
