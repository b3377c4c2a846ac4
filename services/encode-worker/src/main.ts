import { enginePlaces } from '@sightline/shared/runtime/engine-settings';
import { openHealthServer } from '@sightline/shared/runtime/health';
import { openRegistry } from '@sightline/shared/runtime/metrics';
import { dataFiles, openEngines } from '@sightline/shared/runtime/open-engines';
import { packCalibrationSetting } from '@sightline/shared/retrieval/relevance';
import { runMain } from '@sightline/shared/runtime/run-main';
import { ownedCores } from '@sightline/shared/runtime/owned-cores';
import { SETTINGS } from './config.ts';
import { openEncoder } from './open-encoder.ts';
import { startEncodeWorker } from './service.ts';

// Decoding, files and look-ups share libuv's threads, of which there are four however many cores: read once, at the first use of one.
process.env['UV_THREADPOOL_SIZE'] ??= String(Math.max(4, ownedCores() + 2));

await runMain({ service: 'encode-worker', settings: SETTINGS, env: process.env }, async ({ config, logger, closer }) => {
  const registry = openRegistry('encode-worker');
  const packPlaces = [dataFiles(config.dataDir).packs, config.packDir];
  const { encoder, calibration } = await openEncoder({ ...config, packPlaces }, { logger, registry });
  closer.push('encoder', () => encoder.close());
  const queue = { redisUrl: config.redisUrl, prefix: config.queuePrefix };
  const engines = await openEngines(
    { ...enginePlaces(config, config.redisUrl), queue, indexSpec: encoder.spec },
    { logger, registry, closer },
  );
  // query-api knows no packs: it learns from the ledger how this one's relevance is judged.
  if (calibration) await engines.ledger.putSetting(packCalibrationSetting(calibration.fingerprints), JSON.stringify(calibration));
  const service = await startEncodeWorker({
    ...engines,
    encoder,
    pack: config.encoderPack,
    logger,
    registry,
    config: {
      lanes: config.lanes,
      concurrency: config.concurrency,
      ...(config.decodeConcurrency > 0 && { decodeConcurrency: config.decodeConcurrency }),
      maxBatch: config.maxBatch,
      maxPictureBytes: config.maxPictureBytes,
      storm: { objects: config.stormObjects, share: config.stormPercent / 100 },
    },
  });
  closer.push(service.name, () => service.close());
  const health = await openHealthServer({ host: config.healthHost, port: config.healthPort }, { service, registry, logger });
  closer.push('health', () => health.close());
  logger.info({ port: health.port, lanes: config.lanes, pack: encoder.packName }, 'encode-worker runs');
});
