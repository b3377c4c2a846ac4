import { enginePlaces } from '@sightline/shared/runtime/engine-settings';
import { openHealthServer } from '@sightline/shared/runtime/health';
import { openRegistry } from '@sightline/shared/runtime/metrics';
import { openEngines } from '@sightline/shared/runtime/open-engines';
import { runMain } from '@sightline/shared/runtime/run-main';
import { openRateLimitStore } from './rate-limits.ts';
import { startQueryApi } from './service.ts';
import { httpConfigOf, SETTINGS } from './settings.ts';

await runMain({ service: 'query-api', settings: SETTINGS, env: process.env }, async ({ config, logger, closer }) => {
  const registry = openRegistry('query-api');
  const queue = { redisUrl: config.redisUrl, prefix: config.queuePrefix };
  const engines = await openEngines({ ...enginePlaces(config, config.redisUrl), queue }, { logger, registry, closer });
  const rateLimitStore = openRateLimitStore(queue, logger);
  closer.push('rate limits', () => rateLimitStore.client.disconnect());
  const service = await startQueryApi({ ...engines, logger, registry, rateLimitStore, config: httpConfigOf(config) });
  closer.push(service.name, () => service.close());
  // One port for both is one server: then the public one answers alone.
  if (config.healthPort === config.port && config.port !== 0) return;
  const health = await openHealthServer({ host: config.healthHost, port: config.healthPort }, { service, registry, logger });
  closer.push('health', () => health.close());
});
