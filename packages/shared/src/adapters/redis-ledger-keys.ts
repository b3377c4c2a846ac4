import { SightlineError } from '../runtime/errors.ts';

/**
 * The names of a ledger's keys: see RedisLedger for what is in them. Of each group all names bear one hash tag, so that a step
 * within a group is one script on one slot of a Redis Cluster.
 */
export interface LedgerKeys {
  /** Every key that a script on this ingestion touches, in the order in which the scripts' prelude names them. */
  ingestion(ingestionId: string): string[];
  record(ingestionId: string): string;
  owedOf(ingestionId: string): string;
  byStatus: string;
  byTenant: string;
  ended: string;
  latest: string;
  owed: string;
  owedByTenant: string;
  leases: { holders: string; expiries: string; held: string; version: string };
  /** Records, then times of expiry, revocation and last use, then ids by secret. */
  apiKeys: string[];
  audits: {
    record(auditId: string): string;
    ofTenant(tag: string): string;
    active: string;
    ended: string;
    latest: string;
    clean: string;
  };
  settings: string;
  migrations: {
    records: string;
    order: string;
    current: string;
    writing: string;
    generation: string;
    /** Turns, copies and failures of a version. */
    owed(version: number): string[];
  };
  questions: {
    /** Over all questions, in the order in which the scripts' prelude names them; then those of one, then the outbox's. */
    shared: string[];
    of(questionId: string): string[];
    record(questionId: string): string;
  };
  /** Webhooks, messages and deliveries, in the order in which the scripts' prelude names them. In the questions' slot. */
  outbox: string[];
  format: string;
  /** Every key that a script on a tenant's changes touches, in the order in which their prelude names them. */
  changes(tenant: string): string[];
  changingTenants: string;
}

/** Error: `config_invalid`. */
export function ledgerKeys(prefix: string): LedgerKeys {
  if (prefix === '' || /[{}]/.test(prefix)) {
    throw new SightlineError('config_invalid', "The ledger's prefix is some text without braces.");
  }
  const flow = (name: string): string => `{${prefix}:flow}:${name}`;
  const lease = (name: string): string => `{${prefix}:lease}:${name}`;
  const audit = (name: string): string => `{${prefix}:audit}:${name}`;
  const access = (name: string): string => `{${prefix}:access}:${name}`;
  const changing = (name: string): string => `{${prefix}:changes}:${name}`;
  const migrate = (name: string): string => `{${prefix}:migrate}:${name}`;
  const question = (name: string): string => `{${prefix}:questions}:${name}`;
  const shared = {
    byStatus: flow('by-status'),
    byTenant: flow('by-tenant'),
    ended: flow('ended'),
    latest: flow('latest'),
    owed: flow('owed'),
    owedByTenant: flow('owed-by-tenant'),
  };
  const of = (ingestionId: string, noun: string): string => flow(`ingestion:${ingestionId}:${noun}`);
  return {
    ...shared,
    ingestion: (id) => [
      of(id, 'record'),
      ...Object.values(shared),
      ...['chunks', 'taken', 'suspects', 'owed', 'failures', 'failures-order', 'failures-retried'].map((noun) => of(id, noun)),
    ],
    record: (id) => of(id, 'record'),
    owedOf: (id) => of(id, 'owed'),
    leases: { holders: lease('holders'), expiries: lease('expiries'), held: lease('held'), version: lease('version') },
    apiKeys: ['api-keys', 'api-keys-expire', 'api-keys-revoked', 'api-keys-used', 'api-keys-by-secret'].map(access),
    audits: {
      record: (id) => audit(`audit:${id}`),
      ofTenant: (tag) => audit(`of:${tag}`),
      active: audit('active'),
      ended: audit('ended'),
      latest: audit('latest'),
      clean: audit('clean'),
    },
    settings: access('settings'),
    migrations: {
      records: migrate('records'),
      order: migrate('order'),
      current: migrate('current'),
      writing: migrate('writing'),
      generation: migrate('generation'),
      owed: (version) => ['turns', 'copies', 'failed'].map((noun) => migrate(`${noun}:${version}`)),
    },
    questions: {
      shared: ['places', 'queued', 'claimed', 'unfinished', 'finished', 'recheck', 'citing', 'kept', 'kept-until']
        .concat(['reviewed', 'review-places'])
        .map(question),
      of: (id) => ['record', 'events', 'prompt', 'reviews'].map((noun) => question(`question:${id}:${noun}`)),
      record: (id) => question(`question:${id}:record`),
    },
    outbox: ['webhooks', 'webhook-places', 'moving', 'messages', 'message-places', 'bodies', 'events', 'unpublished', 'prunable']
      .concat(['deliveries', 'delivery-places', 'pending', 'free', 'taken'])
      .map((name) => question(`outbox:${name}`)),
    format: access('format'),
    changes: (tenant) => [
      changing('tenants'),
      ...['records', 'owed', 'free', 'claimed', 'failures', 'failures-order'].map((noun) => changing(`of:${tenant}:${noun}`)),
      changing('counters'),
    ],
    changingTenants: changing('tenants'),
  };
}

/** A tenant in names that have parts. */
export function tenantTag(tenant: string): string {
  return encodeURIComponent(tenant);
}
