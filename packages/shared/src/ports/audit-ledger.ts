import type { AuditResult } from '../contracts/audits.ts';

export type AuditStatus = 'queued' | 'running' | 'completed' | 'failed';

/** A comparison of a tenant's sources with the index, asked for or due. Times in Unix milliseconds. */
export interface Audit {
  auditId: string;
  tenant: string;
  /** Only objects in it are compared; null compares everything. */
  place: { bucket: string; prefix: string } | null;
  repair: boolean;
  /** What differs is looked at again so much later, and is reported when it differs still. */
  graceMs: number;
  askedBy: 'request' | 'schedule';
  status: AuditStatus;
  /** Why it failed. */
  reason: string | null;
  /** How often it was taken and not given back: more than one means that workers died over it. */
  attempts: number;
  /** Once it is completed. */
  result: AuditResult | null;
  createdAt: number;
  finishedAt: number | null;
}

/** Where a tenant stands, by its audits of everything that ended. */
export interface AuditStanding {
  tenant: string;
  /** The newest that was completed; null where all failed. */
  latest: Audit | null;
  /** When the newest clean one ended. */
  lastCleanAt: number | null;
}

/** Ledger's methods on audits; `deleteTenant` and `prune` drop them too, but for those that a standing is made of. */
export interface AuditLedger {
  /** Writes it down as queued. One that is there already is answered as it is. */
  createAudit(audit: Omit<Audit, 'status' | 'reason' | 'attempts' | 'result' | 'finishedAt'>): Promise<Audit>;
  getAudit(tenant: string, auditId: string): Promise<Audit | null>;
  /** Newest first. */
  listAudits(tenant: string, options: { limit: number }): Promise<Audit[]>;
  /** Those that are not over, oldest first; of all tenants when `tenant` is null. */
  activeAudits(tenant: string | null, options: { limit: number }): Promise<Audit[]>;
  /** A worker takes one that is queued, or that another left running. Null when it is over or gone. */
  takeAudit(auditId: string): Promise<Audit | null>;
  /** A worker that lives gives up what it took: it is queued again, and that time no longer counts. */
  giveBackAudit(auditId: string): Promise<void>;
  /** Ends one that is not over; answers whether it did: false when it is over or gone. */
  endAudit(
    auditId: string,
    end: { status: 'completed'; result: AuditResult; at: number } | { status: 'failed'; reason: string; at: number },
  ): Promise<boolean>;
  /** Of every tenant that has an audit of everything behind it. */
  auditStandings(): Promise<AuditStanding[]>;
}
