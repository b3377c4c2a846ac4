import type { Logger } from 'pino';
import type { Ledger } from '../ports/ledger.ts';
import { redisApiKeys } from './redis-ledger-api-keys.ts';
import { redisChanges } from './redis-ledger-changes.ts';
import { redisAudits } from './redis-ledger-audits.ts';
import { redisChunks } from './redis-ledger-chunks.ts';
import { openLedgerClient, type LedgerClient } from './redis-ledger-client.ts';
import { redisFailures } from './redis-ledger-failures.ts';
import { redisFeedback } from './redis-ledger-feedback.ts';
import { openLedgerFormat, warnOfRedisSettings } from './redis-ledger-format.ts';
import { redisIngestions } from './redis-ledger-ingestions.ts';
import { ledgerKeys, type LedgerKeys } from './redis-ledger-keys.ts';
import { redisLeases } from './redis-ledger-leases.ts';
import { redisMigrations } from './redis-ledger-migrations.ts';
import { redisQuestions } from './redis-ledger-questions.ts';
import { asText } from './redis-ledger-reply.ts';
import { redisWebhooks } from './redis-ledger-webhooks.ts';

export interface RedisLedgerOptions {
  /** `redis://`, `rediss://`, or for Redis Cluster `redis+cluster://` with any of its nodes, comma-separated. */
  url: string;
  /** Before all keys; without braces. */
  prefix: string;
  /** Hears of settings under which Redis may lose the ledger, and of connections that fail. */
  logger?: Pick<Logger, 'warn' | 'debug'>;
  /** How long any call may take until it is `ledger_unavailable`. */
  commandTimeoutMs?: number;
  /** Unix milliseconds, for leases and versions. For tests: by default Redis' own clock counts, one for all its clients. */
  now?: () => number;
}

/**
 * Ledger on Redis 7 or newer, shared by any number of processes. Each method is one Lua script, but for those that go over many
 * ingestions or questions: listings, what prunes and `deleteTenant`, which take one at a time and are finished by repeating them.
 *
 * Keys lie under seven hash tags, and no script spans two, so that each runs on one slot of a Redis Cluster:
 *
 * - `{prefix:flow}` for ingestions and all that counts them. An ingestion is `record` (hash), `chunks` (hash of number to
 *   deflated JSON), `taken` and `suspects` (hashes by chunk), `owed` (sorted by addedAt), `failures` (hash of number to
 *   msgpack), `failures-order` and `failures-retried` (keys sorted by number). Over all ingestions: `by-status` and `by-tenant`
 *   (members in the order of a listing), `ended` (by finishedAt), `latest` (hash by tenant and source), `owed`, `owed-by-tenant`.
 *   They share a slot because a chunk, the ingestion's counts and the backlog's must change in one step; `bench/ledger.ts`
 *   measures how many such steps one Redis does, each for a chunk.
 * - `{prefix:changes}` for changes that are owed, and those that failed, by tenant.
 * - `{prefix:lease}` for key leases and the version counter, which take most of the calls.
 * - `{prefix:audit}` for audits: see redisAudits.
 * - `{prefix:migrate}` for migrations of the index and what its versions are owed.
 * - `{prefix:questions}` for questions, webhooks and the outbox, which end, tell and deliver in one step: see redisQuestions and
 *   redisWebhooks.
 * - `{prefix:access}` for API keys, settings and the format's number.
 *
 * A call that fails may have been done, when only its answer was lost. All are safe to repeat: what was done is not done twice,
 * but for `takeChunk`, whose attempts then count one too many, and `addQuestionEvents`, which tells it again; the answer of one
 * that says whether it did something is then that of a second call. `addSuspect` tells a repetition by the same RedisLedger from a
 * second worker: who asks again lives. Durable as Redis is: with `appendonly yes` and `appendfsync always`, when a call returns. At maxmemory
 * new work is refused with `ledger_full`, while what is owed is still taken, completed and dropped, which makes room.
 */
export class RedisLedger implements Ledger {
  readonly #client: LedgerClient;
  readonly #ingestions: ReturnType<typeof redisIngestions>;
  readonly #chunks: ReturnType<typeof redisChunks>;
  readonly #changes: ReturnType<typeof redisChanges>;
  readonly #failures: ReturnType<typeof redisFailures>;
  readonly #leases: ReturnType<typeof redisLeases>;
  readonly #apiKeys: ReturnType<typeof redisApiKeys>;
  readonly #audits: ReturnType<typeof redisAudits>;
  readonly #migrations: ReturnType<typeof redisMigrations>;
  readonly #questions: ReturnType<typeof redisQuestions>;
  readonly #feedback: ReturnType<typeof redisFeedback>;
  readonly #webhooks: ReturnType<typeof redisWebhooks>;
  readonly #settingsKey: string;

  private constructor(client: LedgerClient, keys: LedgerKeys, now: (() => number) | undefined) {
    this.#client = client;
    this.#ingestions = redisIngestions(client, keys);
    this.#chunks = redisChunks(client, keys);
    this.#changes = redisChanges(client, keys);
    this.#failures = redisFailures(client, keys);
    this.#leases = redisLeases(client, keys, now);
    this.#apiKeys = redisApiKeys(client, keys);
    this.#audits = redisAudits(client, keys.audits);
    this.#migrations = redisMigrations(client, keys);
    this.#questions = redisQuestions(client, keys);
    this.#feedback = redisFeedback(client, keys);
    this.#webhooks = redisWebhooks(client, keys);
    this.#settingsKey = keys.settings;
  }

  /** Errors: `config_invalid`, `store_format_unsupported`, `ledger_unavailable`, `ledger_full`. */
  static async open(
    { url, prefix, logger, commandTimeoutMs = 5_000, now }: RedisLedgerOptions,
    { openClient = openLedgerClient }: { openClient?: typeof openLedgerClient } = {},
  ): Promise<RedisLedger> {
    const keys = ledgerKeys(prefix);
    const onError = (error: Error): void => logger?.debug({ err: error }, "the ledger's Redis connection failed");
    const client = await openClient({ url, commandTimeoutMs }, onError);
    try {
      await openLedgerFormat(client, keys);
      if (logger) await warnOfRedisSettings(client, logger);
    } catch (error) {
      await client.close();
      throw error;
    }
    return new RedisLedger(client, keys, now);
  }

  createIngestion: Ledger['createIngestion'] = (ingestion) => this.#ingestions.createIngestion(ingestion);
  getIngestion: Ledger['getIngestion'] = (tenant, id) => this.#ingestions.getIngestion(tenant, id);
  listIngestions: Ledger['listIngestions'] = (tenant, options) => this.#ingestions.listIngestions(tenant, options);
  latestIngestions: Ledger['latestIngestions'] = (tenant) => this.#ingestions.latestIngestions(tenant);
  setStatus: Ledger['setStatus'] = (id, from, to, options) => this.#ingestions.setStatus(id, from, to, options);
  setHold: Ledger['setHold'] = (id, hold, options) => this.#ingestions.setHold(id, hold, options);
  reopen: Ledger['reopen'] = (id, cursor) => this.#ingestions.reopen(id, cursor);
  addChunk: Ledger['addChunk'] = (id, chunk) => this.#chunks.addChunk(id, chunk);
  finishPlanning: Ledger['finishPlanning'] = (id) => this.#ingestions.finishPlanning(id);
  takeChunk: Ledger['takeChunk'] = (id, chunkNo) => this.#chunks.takeChunk(id, chunkNo);
  giveBackChunk: Ledger['giveBackChunk'] = (id, chunkNo) => this.#chunks.giveBackChunk(id, chunkNo);
  addSuspect: Ledger['addSuspect'] = (id, chunkNo, key) => this.#chunks.addSuspect(id, chunkNo, key);
  clearSuspect: Ledger['clearSuspect'] = (id, chunkNo, key) => this.#chunks.clearSuspect(id, chunkNo, key);
  completeChunk: Ledger['completeChunk'] = (id, no, outcome, at) => this.#chunks.completeChunk(id, no, outcome, at);
  outstandingChunks: Ledger['outstandingChunks'] = (options) => this.#chunks.outstandingChunks(options);
  countOutstandingChunks: Ledger['countOutstandingChunks'] = (of) => this.#chunks.countOutstandingChunks(of);
  failures: Ledger['failures'] = (id, options) => this.#failures.failures(id, options);
  failedObjects: Ledger['failedObjects'] = (id) => this.#failures.failedObjects(id);
  noteChanges: Ledger['noteChanges'] = (tenant, noted, at) => this.#changes.noteChanges(tenant, noted, at);
  takeChanges: Ledger['takeChanges'] = (tenant, options) => this.#changes.takeChanges(tenant, options);
  settleChanges: Ledger['settleChanges'] = (tenant, settled, at) => this.#changes.settleChanges(tenant, settled, at);
  giveBackChanges: Ledger['giveBackChanges'] = (tenant, places, at) => this.#changes.giveBackChanges(tenant, places, at);
  retryChanges: Ledger['retryChanges'] = (tenant, options) => this.#changes.retryChanges(tenant, options);
  owedChanges: Ledger['owedChanges'] = (at) => this.#changes.owedChanges(at);
  changeFailures: Ledger['changeFailures'] = (tenant, options) => this.#changes.changeFailures(tenant, options);
  leaseKeys: Ledger['leaseKeys'] = (keys, options) => this.#leases.leaseKeys(keys, options);
  renewKeys: Ledger['renewKeys'] = (token, options) => this.#leases.renewKeys(token, options);
  releaseKeys: Ledger['releaseKeys'] = (token) => this.#leases.releaseKeys(token);
  addApiKey: Ledger['addApiKey'] = (key) => this.#apiKeys.addApiKey(key);
  findApiKey: Ledger['findApiKey'] = (secretHash) => this.#apiKeys.findApiKey(secretHash);
  listApiKeys: Ledger['listApiKeys'] = (tenant) => this.#apiKeys.listApiKeys(tenant);
  updateApiKey: Ledger['updateApiKey'] = (keyId, change) => this.#apiKeys.updateApiKey(keyId, change);
  createAudit: Ledger['createAudit'] = (audit) => this.#audits.createAudit(audit);
  getAudit: Ledger['getAudit'] = (tenant, id) => this.#audits.getAudit(tenant, id);
  listAudits: Ledger['listAudits'] = (tenant, options) => this.#audits.listAudits(tenant, options);
  activeAudits: Ledger['activeAudits'] = (tenant, options) => this.#audits.activeAudits(tenant, options);
  takeAudit: Ledger['takeAudit'] = (id) => this.#audits.takeAudit(id);
  giveBackAudit: Ledger['giveBackAudit'] = (id) => this.#audits.giveBackAudit(id);
  endAudit: Ledger['endAudit'] = (id, end) => this.#audits.endAudit(id, end);
  auditStandings: Ledger['auditStandings'] = () => this.#audits.auditStandings();
  addMigration: Ledger['addMigration'] = (migration) => this.#migrations.addMigration(migration);
  getMigration: Ledger['getMigration'] = (id) => this.#migrations.getMigration(id);
  listMigrations: Ledger['listMigrations'] = (limit) => this.#migrations.listMigrations(limit);
  changeMigration: Ledger['changeMigration'] = (migration, writing) => this.#migrations.changeMigration(migration, writing);
  indexWriting: Ledger['indexWriting'] = () => this.#migrations.indexWriting();
  noteWrites: Ledger['noteWrites'] = (version, points, options) => this.#migrations.noteWrites(version, points, options);
  freeWrites: Ledger['freeWrites'] = (mirror, points, options) => this.#migrations.freeWrites(mirror, points, options);
  oweCopies: Ledger['oweCopies'] = (version, points, at) => this.#migrations.oweCopies(version, points, at);
  takeCopies: Ledger['takeCopies'] = (version, options) => this.#migrations.takeCopies(version, options);
  settleCopies: Ledger['settleCopies'] = (version, settled) => this.#migrations.settleCopies(version, settled);
  countCopies: Ledger['countCopies'] = (version) => this.#migrations.countCopies(version);
  stillOwed: Ledger['stillOwed'] = (version, points) => this.#migrations.stillOwed(version, points);
  failedCopies: Ledger['failedCopies'] = (version, limit) => this.#migrations.failedCopies(version, limit);
  retryCopies: Ledger['retryCopies'] = (version, at) => this.#migrations.retryCopies(version, at);
  dropCopies: Ledger['dropCopies'] = (version) => this.#migrations.dropCopies(version);
  createQuestion: Ledger['createQuestion'] = (question, options) => this.#questions.createQuestion(question, options);
  getQuestion: Ledger['getQuestion'] = (tenant, id) => this.#questions.getQuestion(tenant, id);
  listQuestions: Ledger['listQuestions'] = (tenant, options) => this.#questions.listQuestions(tenant, options);
  takeQuestion: Ledger['takeQuestion'] = (id, claim) => this.#questions.takeQuestion(id, claim);
  renewQuestion: Ledger['renewQuestion'] = (id, claim) => this.#questions.renewQuestion(id, claim);
  giveBackQuestion: Ledger['giveBackQuestion'] = (id, token) => this.#questions.giveBackQuestion(id, token);
  addQuestionEvents: Ledger['addQuestionEvents'] = (id, token, events) => this.#questions.addQuestionEvents(id, token, events);
  questionEvents: Ledger['questionEvents'] = (tenant, id, options) => this.#questions.questionEvents(tenant, id, options);
  finishQuestion: Ledger['finishQuestion'] = (id, token, end) => this.#questions.finishQuestion(id, token, end);
  cancelQuestion: Ledger['cancelQuestion'] = (tenant, id, end) => this.#questions.cancelQuestion(tenant, id, end);
  owedQuestions: Ledger['owedQuestions'] = (options) => this.#questions.owedQuestions(options);
  questionBacklog: Ledger['questionBacklog'] = () => this.#questions.questionBacklog();
  questionsCiting: Ledger['questionsCiting'] = (tenant, assetId, limit) =>
    this.#questions.questionsCiting(tenant, assetId, limit);
  markStale: Ledger['markStale'] = (id, message, at) => this.#questions.markStale(id, message, at);
  recheckQuestions: Ledger['recheckQuestions'] = (limit) => this.#questions.recheckQuestions(limit);
  settleRecheck: Ledger['settleRecheck'] = (id) => this.#questions.settleRecheck(id);
  pruneQuestions: Ledger['pruneQuestions'] = (options) => this.#questions.pruneQuestions(options);
  putReview: Ledger['putReview'] = (tenant, id, review) => this.#feedback.putReview(tenant, id, review);
  getReviewed: Ledger['getReviewed'] = (tenant, id) => this.#feedback.getReviewed(tenant, id);
  listReviewed: Ledger['listReviewed'] = (tenant, options) => this.#feedback.listReviewed(tenant, options);
  addWebhook: Ledger['addWebhook'] = (webhook, limit) => this.#webhooks.addWebhook(webhook, limit);
  getWebhook: Ledger['getWebhook'] = (tenant, id) => this.#webhooks.getWebhook(tenant, id);
  listWebhooks: Ledger['listWebhooks'] = (tenant) => this.#webhooks.listWebhooks(tenant);
  changeWebhook: Ledger['changeWebhook'] = (tenant, id, change, at) => this.#webhooks.changeWebhook(tenant, id, change, at);
  deleteWebhook: Ledger['deleteWebhook'] = (tenant, id) => this.#webhooks.deleteWebhook(tenant, id);
  addMessages: Ledger['addMessages'] = (messages) => this.#webhooks.addMessages(messages);
  unpublishedMessages: Ledger['unpublishedMessages'] = (limit) => this.#webhooks.unpublishedMessages(limit);
  settlePublished: Ledger['settlePublished'] = (ids) => this.#webhooks.settlePublished(ids);
  takeDelivery: Ledger['takeDelivery'] = (id, claim) => this.#webhooks.takeDelivery(id, claim);
  settleDelivery: Ledger['settleDelivery'] = (id, token, settled) => this.#webhooks.settleDelivery(id, token, settled);
  giveBackDelivery: Ledger['giveBackDelivery'] = (id, token) => this.#webhooks.giveBackDelivery(id, token);
  dueDeliveries: Ledger['dueDeliveries'] = (options) => this.#webhooks.dueDeliveries(options);
  deliveryBacklog: Ledger['deliveryBacklog'] = (at) => this.#webhooks.deliveryBacklog(at);
  listDeliveries: Ledger['listDeliveries'] = (tenant, id, options) => this.#webhooks.listDeliveries(tenant, id, options);
  replayDeliveries: Ledger['replayDeliveries'] = (tenant, id, which, at) =>
    this.#webhooks.replayDeliveries(tenant, id, which, at);
  pruneMessages: Ledger['pruneMessages'] = (options) => this.#webhooks.pruneMessages(options);
  close: Ledger['close'] = () => this.#client.close();

  async prune(before: number): Promise<number> {
    return (await this.#ingestions.prune(before)) + (await this.#audits.pruneAudits(before));
  }

  async getSetting(name: string): Promise<string | null> {
    const value = await this.#client.call('hget', this.#settingsKey, name);
    return value === null ? null : asText(value);
  }

  async putSetting(name: string, value: string | null): Promise<void> {
    if (value === null) await this.#client.call('hdel', this.#settingsKey, name);
    else await this.#client.call('hset', this.#settingsKey, name, value);
  }

  async deleteTenant(
    tenant: string,
    { createdUpTo = Infinity }: { createdUpTo?: number } = {},
  ): Promise<{ ingestions: number; failures: number; apiKeys: number }> {
    // First what lets its requests in.
    const apiKeys = await this.#apiKeys.dropApiKeysOf(tenant, createdUpTo);
    await this.#changes.dropChangesOf(tenant, createdUpTo);
    await this.#audits.dropAuditsOf(tenant, createdUpTo);
    await this.#questions.dropQuestionsOf(tenant, createdUpTo);
    await this.#webhooks.dropOutboxOf(tenant, createdUpTo);
    return { ...(await this.#ingestions.dropIngestionsOf(tenant, createdUpTo)), apiKeys };
  }
}
