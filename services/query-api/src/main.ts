import { openRegistry } from '@sightline/shared/runtime/metrics';
import { openEngines } from '@sightline/shared/runtime/open-engines';
import { runMain } from '@sightline/shared/runtime/run-main';
import { startQueryApi } from './service.ts';
import { SETTINGS } from './settings.ts';

await runMain({ service: 'query-api', settings: SETTINGS, env: process.env }, async ({ config, logger, closer }) => {
  const registry = openRegistry('query-api');
  const queue = { redisUrl: config.redisUrl, prefix: config.queuePrefix };
  const engines = await openEngines({ dataDir: config.dataDir, queue }, { logger, registry, closer });
  const { host, port, allowedHosts } = config;
  const service = await startQueryApi({ ...engines, logger, registry, config: { host, port, allowedHosts } });
  closer.push(service.name, () => service.close());
});
