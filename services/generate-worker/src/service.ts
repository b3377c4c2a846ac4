import { newId } from '@sightline/shared/contracts/ids';
import type { JobData } from '@sightline/shared/contracts/jobs';
import type { EventLog } from '@sightline/shared/ports/event-log';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { QueueEngine } from '@sightline/shared/ports/queue-engine';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { Closer, type RunningService } from '@sightline/shared/runtime/lifecycle';
import { sleep } from '@sightline/shared/runtime/sleep';
import { SearchVersions } from '@sightline/shared/search/search-versions';
import { answeredMessage, failedMessage, staleMessage } from '@sightline/shared/webhooks/outbox-messages';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { readPromptFiles } from './adapters/prompt-files.ts';
import { openAnswerMetrics } from './answer-metrics.ts';
import type { AnswerDeps } from './core/answer-deps.ts';
import type { Generator } from './core/generator.ts';
import type { Letterbox } from './core/grounding/letterbox.ts';
import { Slots } from './core/slots.ts';
import { driveOwedQuestions, pruneQuestions } from './core/sweep-questions.ts';
import { recheckAnswers, reviewAnswers, watchEvents, type WatchDeps } from './core/watch-answers.ts';
import type { WebhookHttp } from './core/webhooks/send-delivery.ts';
import { repeat } from './repeat.ts';
import { startWebhooks } from './webhooks.ts';
import { generateHandlers } from './worker.ts';

export interface GenerateWorkerConfig {
  /** Questions that are worked at once: those with the model server, and some that are retrieved or grounded meanwhile. */
  concurrency: number;
  /** How long a worker that died keeps others from its question. */
  claimMs: number;
  sweepEveryMs: number;
  pruneEveryMs: number;
  /** Between two looks at the sources of all answers, for what no event told of. */
  reviewEveryMs: number;
  keepQuestionsMs: number;
  keepReviewedMs: number;
  /** How long settled deliveries of webhooks are kept. */
  keepDeliveriesMs: number;
  /** How long a question may wait for what is away. */
  giveUpAfterMs: number;
  /** Workers that may die over a question before it is given up. */
  mostDeaths: number;
  /** Tokens of an answer where the asker does not say. */
  answerTokens: number;
  maxPictureBytes: number;
  encodeTimeoutMs: number;
  drainMs: number;
}

const DEFAULTS: GenerateWorkerConfig = {
  concurrency: 40,
  claimMs: 30_000,
  sweepEveryMs: 2_000,
  pruneEveryMs: 10 * 60_000,
  reviewEveryMs: 6 * 3_600_000,
  keepQuestionsMs: 30 * 24 * 3_600_000,
  keepReviewedMs: 365 * 24 * 3_600_000,
  keepDeliveriesMs: 30 * 24 * 3_600_000,
  giveUpAfterMs: 6 * 3_600_000,
  mostDeaths: 6,
  answerTokens: 512,
  maxPictureBytes: 64 * 1024 ** 2,
  encodeTimeoutMs: 5_000,
  // An answer takes as long as it takes: what is not done by then is given back and answered by another.
  drainMs: 10_000,
};
const RECHECKED_A_TURN = 100;
const REVIEW_LOCK = 'review-answers';
/** A review that died keeps others from theirs for so long. */
const REVIEW_TTL_MS = 60_000;
const REVIEW_PAUSE_MS = 200;
/** Stored pictures in memory at a time: each may be as large as `maxPictureBytes`. */
const PICTURES_AT_ONCE = 8;

export interface GenerateWorkerDeps {
  store: ObjectStore;
  index: VectorIndex;
  ledger: Ledger;
  events: EventLog;
  queue: QueueEngine;
  generator: Generator;
  letterbox: Letterbox;
  /** Guarded: it judges every address that it connects to. */
  http: WebhookHttp;
  logger: Logger;
  registry: Registry;
  /** What is left out has its default. */
  config: Partial<GenerateWorkerConfig>;
}

/** Starts answering questions, watching the sources of answers, and the sweep that makes the ledger's word good. */
export async function startGenerateWorker(deps: GenerateWorkerDeps): Promise<RunningService> {
  const { store, ledger, events, queue, generator, logger, registry } = deps;
  const config: GenerateWorkerConfig = { ...DEFAULTS, ...deps.config };
  const closer = new Closer(logger);
  const versions = new SearchVersions({
    index: deps.index,
    ledger,
    queue,
    store,
    fromPack: null,
    encodeTimeoutMs: config.encodeTimeoutMs,
    maxQueryPictureBytes: config.maxPictureBytes,
    keywordScoresTold: false,
    now: Date.now,
    warn: (message) => logger.warn(message),
  });
  const warn: AnswerDeps['warn'] = (error, message, about) => logger.warn({ err: error, ...about }, message);
  const prompts = await readPromptFiles();
  const webhooks = await startWebhooks({
    ledger,
    events,
    queue,
    http: deps.http,
    logger,
    registry,
    config: { keepMs: config.keepDeliveriesMs, drainMs: config.drainMs, sweepEveryMs: config.sweepEveryMs },
  });
  closer.push('webhooks', () => webhooks.close());
  const answers: AnswerDeps = {
    ledger,
    store,
    version: () => versions.current(),
    generator,
    letterbox: deps.letterbox,
    pictureSlots: new Slots(() => PICTURES_AT_ONCE),
    suspectSlots: new Slots(() => 1),
    ...prompts,
    messages: { answered: answeredMessage, failed: failedMessage },
    onFinished: webhooks.told,
    metrics: openAnswerMetrics(registry, ledger),
    warn,
    newToken: newId,
    now: Date.now,
    nowMs: () => performance.now(),
    sleep,
    claimMs: config.claimMs,
    renewEveryMs: config.claimMs / 6,
    maxPictureBytes: config.maxPictureBytes,
    answerTokens: config.answerTokens,
    giveUpAfterMs: config.giveUpAfterMs,
    mostDeaths: config.mostDeaths,
  };
  const watch: WatchDeps = {
    ledger,
    index: () => versions.current().index,
    message: staleMessage,
    onMarked: webhooks.told,
    now: Date.now,
  };
  try {
    const handlers = generateHandlers(answers);
    const worker = await queue.work('answer', handlers.answer, { concurrency: config.concurrency });
    closer.push('answer worker', () => worker.close(config.drainMs));
    const watching = await events.subscribe('answers', async (told, signal) => {
      const marked = await watchEvents(watch, told, signal);
      if (marked > 0) logger.info({ marked }, 'answers whose sources changed');
    });
    closer.push('watching sources', () => watching.close());
    const enqueue = (job: JobData<'answer'>): Promise<void> =>
      queue.add('answer', job, { lane: 'interactive', jobId: job.questionId });
    let pruneAt = performance.now();
    const sweep = repeat('sweep of questions', { everyMs: config.sweepEveryMs, logger }, async () => {
      await driveOwedQuestions({ ledger, enqueue, now: Date.now });
      while ((await recheckAnswers(watch, RECHECKED_A_TURN)) === RECHECKED_A_TURN);
      if (performance.now() < pruneAt) return;
      pruneAt = performance.now() + config.pruneEveryMs;
      const { keepQuestionsMs: keepMs, keepReviewedMs, giveUpAfterMs } = config;
      const pruned = await pruneQuestions({ ledger, store, now: Date.now }, { keepMs, keepReviewedMs, giveUpAfterMs });
      if (pruned > 0) logger.info({ pruned }, 'questions past their time');
    });
    closer.push('sweep', () => sweep.stop());
    const review = repeat('review of answers', { everyMs: config.reviewEveryMs, logger }, async (signal) => {
      const lease = await ledger.leaseKeys([REVIEW_LOCK], { ttlMs: REVIEW_TTL_MS });
      if (lease.busy.length > 0) return;
      const renewing = setInterval(
        () => void ledger.renewKeys(lease.token, { ttlMs: REVIEW_TTL_MS }).catch(() => {}),
        REVIEW_TTL_MS / 3,
      );
      try {
        const deps = { ...watch, ledger, tenants: () => versions.current().index.tenants() };
        const marked = await reviewAnswers(deps, { pauseMs: REVIEW_PAUSE_MS, sleep, signal });
        if (marked > 0) logger.info({ marked }, 'answers whose sources changed, of which no event told');
      } finally {
        clearInterval(renewing);
        await ledger.releaseKeys(lease.token).catch(() => {});
      }
    });
    closer.push('review', () => review.stop());
  } catch (error) {
    await closer.closeAll(config.drainMs);
    throw error;
  }
  return {
    name: 'generate-worker',
    ready: async () => {
      await queue.ping();
      await ledger.questionBacklog();
      await generator.ready();
    },
    close: () => closer.closeAll(2 * config.drainMs),
  };
}
