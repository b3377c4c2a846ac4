import { randomUUID } from 'node:crypto';
import type { KeyLease, Ledger } from '../ports/ledger.ts';
import type { LedgerMethods, LedgerStoreOptions } from './sqlite-ledger-store.ts';
import { openSqliteThread, type SqliteThread } from './sqlite-thread.ts';

const PAGE = 500;

export interface SqliteLedgerOptions {
  file: string;
  /** For the audit beside a running stack. */
  readOnly?: boolean;
  /** Unix milliseconds; leases and versions follow it. */
  now?: () => number;
  busyTimeoutMs?: number;
}

/** Ledger in one SQLite file, safe with several processes on one machine. Each call is one transaction, on disk when it returns. */
export class SqliteLedger implements Ledger {
  readonly #thread: SqliteThread<LedgerMethods>;
  readonly #now: () => number;
  readonly #self = randomUUID();

  private constructor(thread: SqliteThread<LedgerMethods>, now: () => number) {
    this.#thread = thread;
    this.#now = now;
  }

  /** Errors: `store_format_unsupported`, `store_damaged`, `ledger_unavailable`, `ledger_full`. */
  static async open({ file, readOnly = false, now = Date.now, busyTimeoutMs }: SqliteLedgerOptions): Promise<SqliteLedger> {
    const module = new URL('./sqlite-ledger-store.ts', import.meta.url);
    const options: LedgerStoreOptions = { file, readOnly, busyTimeoutMs };
    return new SqliteLedger(
      await openSqliteThread<LedgerMethods, LedgerStoreOptions>(module, options, 'ledger_unavailable'),
      now,
    );
  }

  createIngestion: Ledger['createIngestion'] = (ingestion) => this.#thread.call('createIngestion', ingestion);
  getIngestion: Ledger['getIngestion'] = (tenant, id) => this.#thread.call('getIngestion', tenant, id);
  listIngestions: Ledger['listIngestions'] = (tenant, options) => this.#thread.call('listIngestions', tenant, options);
  latestIngestions: Ledger['latestIngestions'] = (tenant) => this.#thread.call('latestIngestions', tenant);
  setStatus: Ledger['setStatus'] = (id, from, to, options) => this.#thread.call('setStatus', id, from, to, options);
  setHold: Ledger['setHold'] = (id, hold, options) => this.#thread.call('setHold', id, hold, options);
  reopen: Ledger['reopen'] = (id, cursor) => this.#thread.call('reopen', id, cursor);
  addChunk: Ledger['addChunk'] = (id, chunk) => this.#thread.call('addChunk', id, chunk);
  finishPlanning: Ledger['finishPlanning'] = (id) => this.#thread.call('finishPlanning', id);
  takeChunk: Ledger['takeChunk'] = (id, chunkNo) => this.#thread.call('takeChunk', id, chunkNo);
  giveBackChunk: Ledger['giveBackChunk'] = (id, chunkNo) => this.#thread.call('giveBackChunk', id, chunkNo);
  addSuspect: Ledger['addSuspect'] = (id, chunkNo, key) => this.#thread.call('addSuspect', id, chunkNo, key, this.#self);
  clearSuspect: Ledger['clearSuspect'] = (id, chunkNo, key) => this.#thread.call('clearSuspect', id, chunkNo, key);
  completeChunk: Ledger['completeChunk'] = (id, no, outcome, at) => this.#thread.call('completeChunk', id, no, outcome, at);
  outstandingChunks: Ledger['outstandingChunks'] = (options) => this.#thread.call('outstandingChunks', options);
  countOutstandingChunks: Ledger['countOutstandingChunks'] = (of) => this.#thread.call('countOutstandingChunks', of);
  failures: Ledger['failures'] = (id, options) => this.#thread.call('failures', id, options);
  noteChanges: Ledger['noteChanges'] = (tenant, noted, at) => this.#thread.call('noteChanges', tenant, noted, at);
  takeChanges: Ledger['takeChanges'] = (tenant, options) => this.#thread.call('takeChanges', tenant, options);
  settleChanges: Ledger['settleChanges'] = (tenant, settled, at) => this.#thread.call('settleChanges', tenant, settled, at);
  giveBackChanges: Ledger['giveBackChanges'] = (tenant, places, at) => this.#thread.call('giveBackChanges', tenant, places, at);
  retryChanges: Ledger['retryChanges'] = (tenant, options) => this.#thread.call('retryChanges', tenant, options);
  owedChanges: Ledger['owedChanges'] = (at) => this.#thread.call('owedChanges', at);
  changeFailures: Ledger['changeFailures'] = (tenant, options) => this.#thread.call('changeFailures', tenant, options);
  releaseKeys: Ledger['releaseKeys'] = (token) => this.#thread.call('releaseKeys', token);
  getSetting: Ledger['getSetting'] = (name) => this.#thread.call('getSetting', name);
  putSetting: Ledger['putSetting'] = (name, value) => this.#thread.call('putSetting', name, value);
  addApiKey: Ledger['addApiKey'] = (key) => this.#thread.call('addApiKey', key);
  findApiKey: Ledger['findApiKey'] = (secretHash) => this.#thread.call('findApiKey', secretHash);
  listApiKeys: Ledger['listApiKeys'] = (tenant) => this.#thread.call('listApiKeys', tenant);
  updateApiKey: Ledger['updateApiKey'] = (keyId, change) => this.#thread.call('updateApiKey', keyId, change);
  createAudit: Ledger['createAudit'] = (audit) => this.#thread.call('createAudit', audit);
  getAudit: Ledger['getAudit'] = (tenant, id) => this.#thread.call('getAudit', tenant, id);
  listAudits: Ledger['listAudits'] = (tenant, options) => this.#thread.call('listAudits', tenant, options);
  activeAudits: Ledger['activeAudits'] = (tenant, options) => this.#thread.call('activeAudits', tenant, options);
  takeAudit: Ledger['takeAudit'] = (id) => this.#thread.call('takeAudit', id);
  giveBackAudit: Ledger['giveBackAudit'] = (id) => this.#thread.call('giveBackAudit', id);
  endAudit: Ledger['endAudit'] = (id, end) => this.#thread.call('endAudit', id, end);
  auditStandings: Ledger['auditStandings'] = () => this.#thread.call('auditStandings');
  deleteTenant: Ledger['deleteTenant'] = (tenant, options) => this.#thread.call('deleteTenant', tenant, options);
  addMigration: Ledger['addMigration'] = (migration) => this.#thread.call('addMigration', migration);
  getMigration: Ledger['getMigration'] = (id) => this.#thread.call('getMigration', id);
  listMigrations: Ledger['listMigrations'] = (limit) => this.#thread.call('listMigrations', limit);
  changeMigration: Ledger['changeMigration'] = (migration, writing) => this.#thread.call('changeMigration', migration, writing);
  indexWriting: Ledger['indexWriting'] = () => this.#thread.call('indexWriting');
  noteWrites: Ledger['noteWrites'] = (version, points, { heldUntil }) =>
    this.#thread.call('noteWrites', version, points, heldUntil);
  freeWrites: Ledger['freeWrites'] = (mirror, points, { generation, at }) =>
    this.#thread.call('freeWrites', mirror, points, generation, at);
  oweCopies: Ledger['oweCopies'] = (version, points, at) => this.#thread.call('oweCopies', version, points, at);
  takeCopies: Ledger['takeCopies'] = (version, { limit, claimMs, at }) =>
    this.#thread.call('takeCopies', version, limit, claimMs, at);
  settleCopies: Ledger['settleCopies'] = (version, settled) => this.#thread.call('settleCopies', version, settled);
  countCopies: Ledger['countCopies'] = (version) => this.#thread.call('countCopies', version);
  stillOwed: Ledger['stillOwed'] = (version, points) => this.#thread.call('stillOwed', version, points);
  failedCopies: Ledger['failedCopies'] = (version, limit) => this.#thread.call('failedCopies', version, limit);
  retryCopies: Ledger['retryCopies'] = (version, at) => this.#thread.call('retryCopies', version, at);
  dropCopies: Ledger['dropCopies'] = (version) => this.#thread.call('dropCopies', version);
  createQuestion: Ledger['createQuestion'] = (question, options) => this.#thread.call('createQuestion', question, options);
  getQuestion: Ledger['getQuestion'] = (tenant, id) => this.#thread.call('getQuestion', tenant, id);
  listQuestions: Ledger['listQuestions'] = (tenant, options) => this.#thread.call('listQuestions', tenant, options);
  takeQuestion: Ledger['takeQuestion'] = (id, claim) => this.#thread.call('takeQuestion', id, claim);
  renewQuestion: Ledger['renewQuestion'] = (id, claim) => this.#thread.call('renewQuestion', id, claim);
  giveBackQuestion: Ledger['giveBackQuestion'] = (id, token) => this.#thread.call('giveBackQuestion', id, token);
  addQuestionEvents: Ledger['addQuestionEvents'] = (id, token, events) =>
    this.#thread.call('addQuestionEvents', id, token, events);
  questionEvents: Ledger['questionEvents'] = (tenant, id, options) => this.#thread.call('questionEvents', tenant, id, options);
  finishQuestion: Ledger['finishQuestion'] = (id, token, end) => this.#thread.call('finishQuestion', id, token, end);
  cancelQuestion: Ledger['cancelQuestion'] = (tenant, id, end) => this.#thread.call('cancelQuestion', tenant, id, end);
  owedQuestions: Ledger['owedQuestions'] = (options) => this.#thread.call('owedQuestions', options);
  questionBacklog: Ledger['questionBacklog'] = () => this.#thread.call('questionBacklog');
  questionsCiting: Ledger['questionsCiting'] = (tenant, assetId, limit) =>
    this.#thread.call('questionsCiting', tenant, assetId, limit);
  markStale: Ledger['markStale'] = (id, message, at) => this.#thread.call('markStale', id, message, at);
  recheckQuestions: Ledger['recheckQuestions'] = (limit) => this.#thread.call('recheckQuestions', limit);
  settleRecheck: Ledger['settleRecheck'] = (id) => this.#thread.call('settleRecheck', id);
  pruneQuestions: Ledger['pruneQuestions'] = (options) => this.#thread.call('pruneQuestions', options);
  putReview: Ledger['putReview'] = (tenant, id, review) => this.#thread.call('putReview', tenant, id, review);
  getReviewed: Ledger['getReviewed'] = (tenant, id) => this.#thread.call('getReviewed', tenant, id);
  listReviewed: Ledger['listReviewed'] = (tenant, options) => this.#thread.call('listReviewed', tenant, options);
  addWebhook: Ledger['addWebhook'] = (webhook, limit) => this.#thread.call('addWebhook', webhook, limit);
  getWebhook: Ledger['getWebhook'] = (tenant, id) => this.#thread.call('getWebhook', tenant, id);
  listWebhooks: Ledger['listWebhooks'] = (tenant) => this.#thread.call('listWebhooks', tenant);
  changeWebhook: Ledger['changeWebhook'] = (tenant, id, change, at) => this.#thread.call('changeWebhook', tenant, id, change, at);
  deleteWebhook: Ledger['deleteWebhook'] = (tenant, id) => this.#thread.call('deleteWebhook', tenant, id);
  addMessages: Ledger['addMessages'] = (messages) => this.#thread.call('addMessages', messages);
  unpublishedMessages: Ledger['unpublishedMessages'] = (limit) => this.#thread.call('unpublishedMessages', limit);
  settlePublished: Ledger['settlePublished'] = (ids) => this.#thread.call('settlePublished', ids);
  takeDelivery: Ledger['takeDelivery'] = (id, claim) => this.#thread.call('takeDelivery', id, claim);
  giveBackDelivery: Ledger['giveBackDelivery'] = (id, token) => this.#thread.call('giveBackDelivery', id, token);
  settleDelivery: Ledger['settleDelivery'] = (id, token, settled) => this.#thread.call('settleDelivery', id, token, settled);
  dueDeliveries: Ledger['dueDeliveries'] = (options) => this.#thread.call('dueDeliveries', options);
  deliveryBacklog: Ledger['deliveryBacklog'] = (at) => this.#thread.call('deliveryBacklog', at);
  listDeliveries: Ledger['listDeliveries'] = (tenant, id, options) => this.#thread.call('listDeliveries', tenant, id, options);
  replayDeliveries: Ledger['replayDeliveries'] = (tenant, id, which, at) =>
    this.#thread.call('replayDeliveries', tenant, id, which, at);
  pruneMessages: Ledger['pruneMessages'] = (options) => this.#thread.call('pruneMessages', options);
  prune: Ledger['prune'] = (before) => this.#thread.call('prune', before);

  async *failedObjects(ingestionId: string): ReturnType<Ledger['failedObjects']> {
    for (let after = 0; ;) {
      const page = await this.#thread.call('failedObjectsPage', ingestionId, after, PAGE);
      for (const { key, eTag, code } of page) yield { key, eTag, code };
      const last = page.at(-1);
      if (page.length < PAGE || !last) return;
      after = last.failureNo;
    }
  }

  leaseKeys(keys: string[], { ttlMs }: { ttlMs: number }): Promise<KeyLease> {
    return this.#thread.call('leaseKeys', randomUUID(), keys, ttlMs, this.#now());
  }

  renewKeys(token: string, { ttlMs }: { ttlMs: number }): Promise<boolean> {
    return this.#thread.call('renewKeys', token, ttlMs, this.#now());
  }

  close(): Promise<void> {
    return this.#thread.close();
  }
}
