import { enginePlaces } from '@sightline/shared/runtime/engine-settings';
import { openHealthServer } from '@sightline/shared/runtime/health';
import { openRegistry } from '@sightline/shared/runtime/metrics';
import { openEngines } from '@sightline/shared/runtime/open-engines';
import { runMain } from '@sightline/shared/runtime/run-main';
import { auditScheduleOf, SETTINGS } from './config.ts';
import { openChangeFeeds } from './open-change-feeds.ts';
import { startIngestWorker } from './service.ts';

await runMain({ service: 'ingest-worker', settings: SETTINGS, env: process.env }, async ({ config, logger, closer }) => {
  const registry = openRegistry('ingest-worker');
  const queue = { redisUrl: config.redisUrl, prefix: config.queuePrefix };
  const engines = await openEngines({ ...enginePlaces(config, config.redisUrl), queue }, { logger, registry, closer });
  const feeds = await openChangeFeeds(
    {
      ...enginePlaces(config, config.redisUrl),
      notificationsTopic: config.notificationsTopic,
      itemsTopic: config.itemsTopic,
      allowedSources: config.sources,
    },
    { ledger: engines.ledger, logger, registry },
  );
  const service = await startIngestWorker({
    ...engines,
    feeds,
    logger,
    registry,
    config: {
      concurrency: config.concurrency,
      highWaterChunks: config.highWaterChunks,
      highWaterChunksTotal: config.highWaterChunksTotal,
      chunkObjects: config.chunkObjects,
      highWaterChanges: config.highWaterChanges,
      storm: { objects: config.stormObjects, share: config.stormPercent / 100 },
      keepTombstonesMs: config.tombstoneRetentionDays * 24 * 3_600_000,
      auditSchedule: auditScheduleOf(config),
    },
  });
  closer.push(service.name, () => service.close());
  const health = await openHealthServer({ host: config.healthHost, port: config.healthPort }, { service, registry, logger });
  closer.push('health', () => health.close());
  logger.info({ port: health.port }, 'ingest-worker runs');
});
