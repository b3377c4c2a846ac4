import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { openGuardedHttpClient } from '@sightline/shared/adapters/guarded-http-client';
import { fetchPicture } from '@sightline/shared/adapters/guarded-picture';
import { judgeUrl } from '@sightline/shared/adapters/guarded-url';
import { DEFAULT_DECODE_LIMITS } from '@sightline/shared/adapters/sharp-picture-guard';
import { SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import { fencedIndex } from '@sightline/shared/ingestion/tenant-fence';
import { ServingIndex } from '@sightline/shared/migration/serving-index';
import type { EventLog } from '@sightline/shared/ports/event-log';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import type { Calibration } from '@sightline/shared/retrieval/relevance';
import { Closer, type RunningService } from '@sightline/shared/runtime/lifecycle';
import { sleep } from '@sightline/shared/runtime/sleep';
import type { QueueEngine } from '@sightline/shared/ports/queue-engine';
import type { FastifyInstance } from 'fastify';
import type { z } from 'zod';
import { SharpAnnotator } from './adapters/sharp-annotator.ts';
import { makeThumbnail } from './adapters/sharp-thumbnailer.ts';
import { authModeOf } from './access.ts';
import { queryApiConfig, type QueryApiConfig } from './config.ts';
import { sweepDeletedTenants } from './core/deleted-tenants.ts';
import { Gate } from './core/gate.ts';
import { KeyRing } from './core/key-ring.ts';
import { Progress } from './core/progress.ts';
import { QuestionPictures, type QuestionPictureDeps } from './core/question-pictures.ts';
import { readiness } from './core/readiness.ts';
import type { RemoveDeps } from './core/remove.ts';
import { SearchVersions } from '@sightline/shared/search/search-versions';
import { Thumbnails } from './core/thumbnails.ts';
import { ProgressStreams } from './progress-streams.ts';
import { QuestionStreams } from './question-streams.ts';
import type { RateLimitStore } from './rate-limits.ts';
import { auditRoutes } from './routes/audit-routes.ts';
import { assetRoutes } from './routes/asset-routes.ts';
import { changeRoutes } from './routes/change-routes.ts';
import { feedbackRoutes } from './routes/feedback-routes.ts';
import { ingestionControlRoutes } from './routes/ingestion-control-routes.ts';
import { ingestionRoutes } from './routes/ingestion-routes.ts';
import { itemRoutes } from './routes/item-routes.ts';
import { keyRoutes } from './routes/key-routes.ts';
import { migrationRoutes } from './routes/migration-routes.ts';
import { pageRoutes } from './routes/page-routes.ts';
import { questionImageRoutes } from './routes/question-image-routes.ts';
import { questionRoutes } from './routes/question-routes.ts';
import { searchRoutes } from './routes/search-routes.ts';
import { serviceRoutes } from './routes/service-routes.ts';
import { tenantRoutes } from './routes/tenant-routes.ts';
import { webhookRoutes } from './routes/webhook-routes.ts';
import { createServer } from './server.ts';

export interface QueryApiDeps {
  store: ObjectStore;
  index: VectorIndex;
  ledger: Ledger;
  events: EventLog;
  queue: QueueEngine;
  logger: Logger;
  registry: Registry;
  config: z.input<typeof queryApiConfig>;
  /** Where rate limits are counted for all replicas together; each counts its own without. */
  rateLimitStore?: RateLimitStore;
  /** The encoder pack's own `calibration.json`, where it has one. */
  calibration?: Calibration | null;
  /** The pack that made the version that serves, where this process knows packs. */
  servingPack?: () => string | null;
  /** Where this process knows packs: throws what is wrong with the one of that name. */
  checkPack?: (pack: string) => Promise<void>;
}

const CLOSE_DEADLINE_MS = 5_000;
/** A request beside its base64 picture. */
const BODY_BESIDE_PICTURE_BYTES = 256 * 1024;
const KEEP_QUERY_PICTURES_MS = 10 * 60_000;
const KEEP_THUMBNAILS_MS = 30 * 24 * 3_600_000;
const EXPIRE_THUMBNAILS_EVERY_MS = 24 * 3_600_000;

/** Builds query-api without listening: what `startQueryApi` serves and tests inject into. */
export async function createQueryApi(
  deps: QueryApiDeps,
  closer: Closer,
): Promise<{ app: FastifyInstance; config: QueryApiConfig; ready: () => Promise<void> }> {
  const { store, index, ledger, events, queue, logger, registry } = deps;
  const config = queryApiConfig.parse(deps.config);
  const now = Date.now;
  const progress = new Progress(now);
  const ready = readiness({ index, ledger, queue, timeoutMs: config.encodeTimeoutMs, now });
  const auth = authModeOf(config);
  const versions = new SearchVersions({
    index,
    ledger,
    queue,
    store,
    fromPack: deps.calibration ?? null,
    encodeTimeoutMs: config.encodeTimeoutMs,
    maxQueryPictureBytes: config.maxQueryPictureBytes,
    keywordScoresTold: auth === 'none',
    now,
    warn: (message) => logger.warn(message),
  });
  const ring = new KeyRing({ ledger, now, warn: (error, message) => logger.warn({ err: error }, message) });

  const app = await createServer({ config, auth, ring, redis: deps.rateLimitStore, logger, registry });
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

  const ingestions = {
    ledger,
    queue,
    store,
    now,
    progress,
    streams,
    allowDirectorySources: config.allowDirectorySources,
    allowedSources: config.allowedSources,
    events,
    logger,
  };
  ingestionRoutes(app, ingestions);
  ingestionControlRoutes(app, ingestions);
  auditRoutes(app, { ledger, queue, store, now });
  changeRoutes(app, { ledger, queue, spec: () => index.spec, now });
  const bodyLimitBytes = Math.ceil(config.maxQueryPictureBytes / 3) * 4 + BODY_BESIDE_PICTURE_BYTES;
  searchRoutes(app, {
    search: () => versions.current().search,
    gate: new Gate('searches', { running: config.searchesRunning, waiting: config.searchesWaiting }),
    registry,
    bodyLimitBytes,
  });
  const questionStreams = new QuestionStreams({
    ledger,
    logger,
    maxListeners: config.questionListeners,
    intervalMs: config.questionIntervalMs,
    longestIntervalMs: config.longestQuestionIntervalMs,
    heartbeatMs: config.heartbeatMs,
    now,
  });
  closer.push('question streams', () => questionStreams.close());
  const http = openGuardedHttpClient(config.egress);
  closer.push('guarded client', () => http.close());
  questionRoutes(app, {
    ledger,
    queue,
    store,
    index: () => versions.current().index,
    streams: questionStreams,
    fetchPicture: (url, options) => fetchPicture(http, url, { ...options, timeoutMs: config.pictureUrlTimeoutMs }),
    judgeWebhookUrl: (url) => judgeUrl(url, config.egress),
    maxBacklog: config.maxQuestionBacklog,
    // Without keys there is but one tenant.
    maxOfTenant: auth === 'none' ? config.maxQuestionBacklog : Math.ceil(config.maxQuestionBacklog / 2),
    maxPictureBytes: config.maxQueryPictureBytes,
    now,
    warn: (error, message) => logger.warn({ err: error }, message),
    registry,
    bodyLimitBytes,
  });
  const gate = new Gate('thumbnails', { running: config.thumbnailsRunning, waiting: config.thumbnailsWaiting });
  const thumbnails = new Thumbnails({ index, store, make: makeThumbnail, gate, maxPictureBytes: config.maxPictureBytes });
  const { maxPictureBytes } = config;
  const annotator = new SharpAnnotator({ ...DEFAULT_DECODE_LIMITS, maxPictureBytes });
  const draw: QuestionPictureDeps['draw'] = (bytes, boxes, maxPx) => annotator.draw(bytes, boxes, maxPx);
  const pictures = new QuestionPictures({ ledger, store, index, draw, gate, maxPictureBytes });
  questionImageRoutes(app, { pictures });
  feedbackRoutes(app, { ledger, pictures, now });
  // A removal that takes a record off a picture encodes what stays and writes it: both of one version.
  const removal = (): RemoveDeps => {
    const { index, encoder } = versions.current();
    const encodePassage: RemoveDeps['encodePassage'] = (request) => encoder.encodePassage(request);
    return { index: fencedIndex(index, ledger), store, ledger, events, now, sleep, encodePassage };
  };
  assetRoutes(app, { removal, thumbnails });
  const { allowDirectorySources, allowedSources } = config;
  itemRoutes(app, { removal, ledger, index, queue, logger, now, sleep, allowDirectorySources, allowedSources });
  const onChanged = () => ring.forget();
  keyRoutes(app, { ledger, now, randomBytes, onChanged });
  webhookRoutes(app, { ledger, judgeUrl: (url) => judgeUrl(url, config.egress), now, sleep, randomBytes });
  tenantRoutes(app, { index, ledger, store, now, sleep, drainMs: config.tenantDrainMs, onChanged });
  migrationRoutes(app, {
    ledger,
    serving: () => ({
      version: index instanceof ServingIndex ? index.version : 1,
      spec: index.spec,
      pack: deps.servingPack?.() ?? null,
    }),
    checkPack: deps.checkPack ?? (async () => {}),
    now,
    operatorTenant: config.operatorTenant,
  });
  serviceRoutes(app, { version: () => versions.current(), registry, ready, metricsShown: auth === 'none' });
  await pageRoutes(app);
  return { app, config, ready };
}

/** Starts query-api: the public HTTP interface and the search page. The ports stay their opener's to close. */
export async function startQueryApi(deps: QueryApiDeps): Promise<RunningService & { url: string }> {
  const closer = new Closer(deps.logger);
  try {
    const { app, config, ready } = await createQueryApi(deps, closer);
    const url = await app.listen({ host: config.host, port: config.port });
    startSweep(deps, config.sweepIntervalMs, closer);
    deps.logger.info({ url }, 'query-api listens');
    return { name: 'query-api', url, ready, close: () => closer.closeAll(CLOSE_DEADLINE_MS) };
  } catch (error) {
    await closer.closeAll(CLOSE_DEADLINE_MS);
    throw error;
  }
}

/** What a killed process left under `queries/`, thumbnails that nobody asked for in a month, and what came after a tenant's end. */
function startSweep({ store, ledger, index, logger }: QueryApiDeps, intervalMs: number, closer: Closer): void {
  let thumbnailsAt = 0;
  let isSweeping = false;
  const sweep = async () => {
    await store.expire({ bucket: SYSTEM_BUCKET, prefix: 'queries/', olderThanMs: KEEP_QUERY_PICTURES_MS });
    // As long a listing as there are thumbnails.
    if (performance.now() >= thumbnailsAt) {
      thumbnailsAt = performance.now() + EXPIRE_THUMBNAILS_EVERY_MS;
      await store.expire({ bucket: SYSTEM_BUCKET, prefix: 'thumbnails/', olderThanMs: KEEP_THUMBNAILS_MS });
    }
    const found = await sweepDeletedTenants({ ledger, index, now: Date.now, sleep });
    if (found > 0) logger.warn({ found }, 'points that were written after the deletion of their tenant were taken off');
  };
  const timer = setInterval(() => {
    if (isSweeping) return;
    isSweeping = true;
    sweep()
      .catch((error: unknown) => logger.warn({ err: error }, 'sweep failed'))
      .finally(() => (isSweeping = false));
  }, intervalMs);
  closer.push('sweep', () => clearInterval(timer));
}
