import { openGuardedHttpClient } from '@sightline/shared/adapters/guarded-http-client';
import { enginePlaces } from '@sightline/shared/runtime/engine-settings';
import { openHealthServer } from '@sightline/shared/runtime/health';
import { openRegistry } from '@sightline/shared/runtime/metrics';
import { dataFiles, openEngines } from '@sightline/shared/runtime/open-engines';
import { runMain } from '@sightline/shared/runtime/run-main';
import { SharpLetterbox } from './adapters/sharp-letterbox.ts';
import { generateConfigOf, SETTINGS } from './config.ts';
import { openGenerator } from './open-generator.ts';
import { startGenerateWorker } from './service.ts';

await runMain({ service: 'generate-worker', settings: SETTINGS, env: process.env }, async ({ config, logger, closer }) => {
  const registry = openRegistry('generate-worker');
  const queue = { redisUrl: config.redisUrl, prefix: config.queuePrefix };
  const engines = await openEngines({ ...enginePlaces(config, config.redisUrl), queue }, { logger, registry, closer });
  const packPlaces = [dataFiles(config.dataDir).packs, config.packDir];
  const generator = await openGenerator(config, { logger, registry, closer, packPlaces });
  const http = openGuardedHttpClient({ allowHttp: config.egressAllowHttp, allowAddresses: config.egressAllow });
  closer.push('http client', () => http.close());
  const letterbox = new SharpLetterbox(generator.profile.imageSidePx);
  const service = await startGenerateWorker({
    ...engines,
    generator,
    letterbox,
    http,
    logger,
    registry,
    config: generateConfigOf(config),
  });
  closer.push(service.name, () => service.close());
  const health = await openHealthServer({ host: config.healthHost, port: config.healthPort }, { service, registry, logger });
  closer.push('health', () => health.close());
  logger.info({ port: health.port }, 'generate-worker runs');
});
