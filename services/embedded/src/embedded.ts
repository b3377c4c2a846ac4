import { createServer } from 'node:net';
import type { Logger } from 'pino';
import { findPack } from '@sightline/shared/adapters/find-pack';
import { openEncoder } from '@sightline/encode-worker/open-encoder';
import { SharpLetterbox } from '@sightline/generate-worker/adapters/sharp-letterbox';
import { generateConfigOf } from '@sightline/generate-worker/config';
import { openGenerator } from '@sightline/generate-worker/open-generator';
import { startGenerateWorker } from '@sightline/generate-worker/service';
import { auditScheduleOf } from '@sightline/ingest-worker/config';
import { openChangeFeeds } from '@sightline/ingest-worker/open-change-feeds';
import { startIngestWorker } from '@sightline/ingest-worker/service';
import { startQueryApi } from '@sightline/query-api/service';
import { httpConfigOf } from '@sightline/query-api/settings';
import type { QueuePlace } from '@sightline/shared/adapters/bullmq-backends';
import { openGuardedHttpClient } from '@sightline/shared/adapters/guarded-http-client';
import { openEmbeddedPostgres } from '@sightline/shared/adapters/embedded-postgres';
import type { ConfigOf } from '@sightline/shared/runtime/config';
import { enginePlaces } from '@sightline/shared/runtime/engine-settings';
import { waitForDataDir } from '@sightline/shared/runtime/data-dir';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { Closer } from '@sightline/shared/runtime/lifecycle';
import { openRegistry } from '@sightline/shared/runtime/metrics';
import { dataFiles, openEngines, openIndexVersions, openLedger, type EnginePlaces } from '@sightline/shared/runtime/open-engines';
import type { SETTINGS } from './config.ts';
import { packsWanted, PackServices, type PacksWanted } from './pack-services.ts';

export type EmbeddedConfig = ConfigOf<typeof SETTINGS>;

export interface EmbeddedDeps {
  logger: Logger;
  closer: Closer;
  /** Where packs of a given name are looked for, after those below the data directory. */
  packPlaces: string[];
}

/** A killed predecessor needs a moment to notice that it is alone. */
const WAIT_FOR_DATA_DIR_MS = 8_000;
const ASKING_DEADLINE_MS = 5_000;

/**
 * The four services' own code in one process, with nothing to install: queue on an embedded PostgreSQL (or on Redis where REDIS_URL
 * is set), index and ledger in SQLite files, objects in directories. Opens cheap to dear and listens last; everything goes onto
 * the closer. Errors: `data_dir_in_use`, `port_taken`, those of the pack and of the index.
 */
export async function startEmbedded(
  config: EmbeddedConfig,
  deps: EmbeddedDeps,
): Promise<{ url: string; ready: () => Promise<void> }> {
  const { logger, closer } = deps;
  const registry = openRegistry('embedded');
  const files = dataFiles(config.dataDir);
  const dataDir = await waitForDataDir(files.root, WAIT_FOR_DATA_DIR_MS);
  closer.push('data directory', () => dataDir.release());
  await assertPortIsFree(config.host, config.port);

  const packPlaces = [files.packs, ...deps.packPlaces];
  const places = enginePlaces({ ...config, dataDir: files.root }, config.redisUrl ?? null);
  const wanted = await askPacks(places, config.encoderPack, deps);
  if (wanted.serving !== config.encoderPack)
    logger.warn(
      { pack: wanted.serving, encoderPack: config.encoderPack },
      'the index was migrated: its pack is used, not ENCODER_PACK',
    );

  // Loading the encoder's weights and starting the database each take a second or two, on different cores.
  const opening = openEncoder({ ...config, encoderPack: wanted.serving, packPlaces }, { logger, registry });
  closer.push('encoder', async () => (await opening.catch(() => null))?.encoder.close());
  const [queuePlace, serving] = await Promise.all([openQueuePlace(config, deps), opening]);

  const indexSpec = serving.encoder.spec;
  const engines = await openEngines({ ...places, queue: queuePlace, indexSpec }, { logger, registry, closer });
  const shared = (component: string) => ({ ...engines, registry, logger: logger.child({ component }) });
  const packs = new PackServices({ engines, config, packPlaces, logger, registry }, wanted.serving);
  closer.push('encode workers', () => packs.close());
  await packs.start(wanted.serving, serving);
  packs.watch();
  const generator = await openGenerator(config, {
    logger: logger.child({ component: 'generate-worker' }),
    registry,
    closer,
    packPlaces,
  });
  const http = openGuardedHttpClient({ allowHttp: config.egressAllowHttp, allowAddresses: config.egressAllow });
  closer.push('http client', () => http.close());
  const services = [
    await opened(
      closer,
      startIngestWorker({
        ...shared('ingest-worker'),
        feeds: await openChangeFeeds({ ...config, ...places, allowedSources: config.sources }, shared('ingest-worker')),
        config: {
          highWaterChanges: config.highWaterChanges,
          keepTombstonesMs: config.tombstoneRetentionDays * 24 * 3_600_000,
          auditSchedule: auditScheduleOf(config),
        },
      }),
    ),
    await opened(
      closer,
      startGenerateWorker({
        ...shared('generate-worker'),
        generator,
        letterbox: new SharpLetterbox(generator.profile.imageSidePx),
        http,
        config: generateConfigOf(config),
      }),
    ),
  ];
  const api = await opened(
    closer,
    startQueryApi({
      ...shared('query-api'),
      calibration: serving.calibration,
      servingPack: () => packs.serving,
      checkPack: async (pack) => void (await findPack(pack, packPlaces)),
      config: { ...httpConfigOf(config), allowDirectorySources: true },
    }),
  );
  return {
    url: api.url,
    ready: async () => {
      await packs.ready();
      for (const service of [...services, api]) await service.ready();
    },
  };
}

async function opened<T extends { name: string; close(): Promise<void> }>(closer: Closer, starting: Promise<T>): Promise<T> {
  const service = await starting;
  closer.push(service.name, () => service.close());
  return service;
}

/** Before anything that is dear to open. */
async function askPacks(places: EnginePlaces, configured: string, { logger }: EmbeddedDeps): Promise<PacksWanted> {
  const closer = new Closer(logger);
  try {
    const ledger = await openLedger(places, { logger, closer });
    return await packsWanted({ ledger, versions: openIndexVersions(places, { closer }) }, configured);
  } finally {
    await closer.closeAll(ASKING_DEADLINE_MS);
  }
}

async function openQueuePlace(config: EmbeddedConfig, { logger, closer }: EmbeddedDeps): Promise<QueuePlace> {
  if (config.redisUrl) return { redisUrl: config.redisUrl, prefix: config.queuePrefix };
  const postgres = await openEmbeddedPostgres({ dataDir: dataFiles(config.dataDir).root }, { logger });
  closer.push('embedded PostgreSQL', () => postgres.close());
  return { postgresUrl: postgres.url };
}

/** Said before anything else is started, not after a minute of it. */
function assertPortIsFree(host: string, port: number): Promise<void> {
  if (port === 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE')
        reject(new SightlineError('port_taken', `It is ${port} on ${host}: set PORT to another one.`));
      else reject(new SightlineError('config_invalid', `HOST ${host} and PORT ${port} cannot be listened on: ${error.message}`));
    });
    probe.listen(port, host, () => probe.close(() => resolve()));
  });
}
