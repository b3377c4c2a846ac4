import { openQueueEngine } from '@sightline/shared/adapters/bullmq-queue-engine';
import { openHealthServer } from '@sightline/shared/runtime/health';
import { openRegistry } from '@sightline/shared/runtime/metrics';
import { runMain } from '@sightline/shared/runtime/run-main';
import { SETTINGS } from './config.ts';
import { startGenerateWorker } from './service.ts';

await runMain({ service: 'generate-worker', settings: SETTINGS, env: process.env }, async ({ config, logger, closer }) => {
  const registry = openRegistry('generate-worker');
  const queue = await openQueueEngine({ redisUrl: config.redisUrl, prefix: config.queuePrefix }, { logger, registry });
  closer.push('queue', () => queue.close());
  const service = await startGenerateWorker({ queue });
  closer.push(service.name, () => service.close());
  const health = await openHealthServer({ host: config.healthHost, port: config.healthPort }, { service, registry, logger });
  closer.push('health', () => health.close());
  logger.info({ port: health.port }, 'generate-worker runs');
});
