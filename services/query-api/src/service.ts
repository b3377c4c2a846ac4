import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import type { Calibration } from '@sightline/shared/retrieval/relevance';
import { Closer, type RunningService } from '@sightline/shared/runtime/lifecycle';
import type { QueueEngine } from '@sightline/shared/ports/queue-engine';
import type { FastifyInstance } from 'fastify';
import type { z } from 'zod';
import { makeThumbnail } from './adapters/sharp-thumbnailer.ts';
import { queryApiConfig, type QueryApiConfig } from './config.ts';
import { Backgrounds } from './core/backgrounds.ts';
import { Calibrations } from './core/calibrations.ts';
import { Gate } from './core/gate.ts';
import { Progress } from './core/progress.ts';
import { QueryEncoder } from './core/query-encoder.ts';
import { readiness } from './core/readiness.ts';
import { RecordKeywords } from './core/record-keywords.ts';
import { Thumbnails } from './core/thumbnails.ts';
import { ProgressStreams } from './progress-streams.ts';
import { assetRoutes } from './routes/asset-routes.ts';
import { ingestionRoutes } from './routes/ingestion-routes.ts';
import { pageRoutes } from './routes/page-routes.ts';
import { searchRoutes } from './routes/search-routes.ts';
import { serviceRoutes } from './routes/service-routes.ts';
import { createServer } from './server.ts';

export interface QueryApiDeps {
  store: ObjectStore;
  index: VectorIndex;
  ledger: Ledger;
  queue: QueueEngine;
  logger: Logger;
  registry: Registry;
  config: z.input<typeof queryApiConfig>;
  /** The encoder pack's own `calibration.json`, where it has one. */
  calibration?: Calibration | null;
}

const CLOSE_DEADLINE_MS = 5_000;
const KEEP_QUERY_PICTURES_MS = 10 * 60_000;
const KEEP_THUMBNAILS_MS = 30 * 24 * 3_600_000;

/** Builds query-api without listening: what `startQueryApi` serves and tests inject into. */
export async function createQueryApi(
  deps: QueryApiDeps,
  closer: Closer,
): Promise<{ app: FastifyInstance; config: QueryApiConfig; ready: () => Promise<void> }> {
  const { store, index, ledger, queue, logger, registry } = deps;
  const config = queryApiConfig.parse(deps.config);
  const now = Date.now;
  const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
  const progress = new Progress(now);
  const calibrations = new Calibrations({
    ledger,
    spec: index.spec,
    fromPack: deps.calibration ?? null,
    now,
    warn: (message) => logger.warn(message),
  });
  const encoder = new QueryEncoder({
    queue,
    store,
    spec: index.spec,
    timeoutMs: config.encodeTimeoutMs,
    maxPictureBytes: config.maxQueryPictureBytes,
    now,
  });
  const backgrounds = new Backgrounds(index, now);
  const ready = readiness({ index, ledger, queue, timeoutMs: config.encodeTimeoutMs, now });

  const app = await createServer({ config, logger, registry });
  closer.push('http server', () => app.close());
  const streams = new ProgressStreams({
    ledger,
    progress,
    logger,
    maxListeners: config.progressListeners,
    intervalMs: config.progressIntervalMs,
    heartbeatMs: config.heartbeatMs,
  });
  closer.push('progress streams', () => streams.close());

  ingestionRoutes(app, { ledger, queue, store, now, progress, streams, allowDirectorySources: config.allowDirectorySources });
  searchRoutes(app, {
    search: {
      index,
      encodeQuery: (query) => encoder.encode(query),
      logitScale: () => encoder.logitScale,
      recordKeywords: new RecordKeywords(),
      background: (tenant, space) => backgrounds.sample(tenant, space),
      calibration: () => calibrations.current(),
      nowMs: () => performance.now(),
    },
    gate: new Gate('searches', { running: config.searchesRunning, waiting: config.searchesWaiting }),
    registry,
    bodyLimitBytes: Math.ceil(config.maxQueryPictureBytes / 3) * 4 + 256 * 1024,
  });
  const gate = new Gate('thumbnails', { running: config.thumbnailsRunning, waiting: config.thumbnailsWaiting });
  const thumbnails = new Thumbnails({ index, store, make: makeThumbnail, gate, maxPictureBytes: config.maxPictureBytes });
  assetRoutes(app, { index, store, ledger, now, sleep, thumbnails, encodePassage: (request) => encoder.encodePassage(request) });
  serviceRoutes(app, { index, calibrations, registry, ready });
  await pageRoutes(app);
  return { app, config, ready };
}

/** Starts query-api: the public HTTP interface and the search page. The ports stay their opener's to close. */
export async function startQueryApi(deps: QueryApiDeps): Promise<RunningService & { url: string }> {
  const closer = new Closer(deps.logger);
  try {
    const { app, config, ready } = await createQueryApi(deps, closer);
    const url = await app.listen({ host: config.host, port: config.port });
    sweepSystemBucket(deps, config.sweepIntervalMs, closer);
    deps.logger.info({ url }, 'query-api listens');
    return { name: 'query-api', url, ready, close: () => closer.closeAll(CLOSE_DEADLINE_MS) };
  } catch (error) {
    await closer.closeAll(CLOSE_DEADLINE_MS);
    throw error;
  }
}

/** What a killed process left under `queries/`, and thumbnails that nobody asked for in a month. */
function sweepSystemBucket({ store, logger }: QueryApiDeps, intervalMs: number, closer: Closer): void {
  const sweep = async () => {
    await store.expire({ bucket: SYSTEM_BUCKET, prefix: 'queries/', olderThanMs: KEEP_QUERY_PICTURES_MS });
    await store.expire({ bucket: SYSTEM_BUCKET, prefix: 'thumbnails/', olderThanMs: KEEP_THUMBNAILS_MS });
  };
  const timer = setInterval(
    () => void sweep().catch((error: unknown) => logger.warn({ err: error }, 'sweep failed')),
    intervalMs,
  );
  closer.push('sweep', () => clearInterval(timer));
}
