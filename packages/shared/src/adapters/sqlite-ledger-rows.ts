import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite';
import { source } from '../contracts/records.ts';
import type { Hold, Ingestion, IngestionStatus } from '../ports/ledger.ts';
import { SightlineError } from '../runtime/errors.ts';
import { inTransaction } from './sqlite-database.ts';

export type Row = Record<string, SQLOutputValue>;

/** What the ledger's methods are made of. */
export interface LedgerDatabase {
  /** The statement of a text, prepared once. */
  sql(text: string): StatementSync;
  transaction<T>(work: () => T): T;
  /** The ingestion's row. Error: `ingestion_not_found`. */
  mustExist(ingestionId: string): Row;
}

export function ledgerDatabase(db: DatabaseSync): LedgerDatabase {
  const statements = new Map<string, StatementSync>();
  const sql = (text: string): StatementSync => {
    let statement = statements.get(text);
    if (!statement) statements.set(text, (statement = db.prepare(text)));
    return statement;
  };
  return {
    sql,
    transaction: (work) => inTransaction(db, work),
    mustExist(ingestionId) {
      const row = sql('SELECT * FROM ledger_ingestions WHERE ingestion_id = ?').get(ingestionId);
      if (!row) throw new SightlineError('ingestion_not_found');
      return row;
    },
  };
}

export function toIngestion(row: Row): Ingestion {
  return {
    ingestionId: text(row['ingestion_id']),
    tenant: text(row['tenant']),
    source: source.parse(JSON.parse(text(row['source']))),
    dryRun: row['dry_run'] === 1,
    status: text(row['status']) as IngestionStatus,
    reason: textOrNull(row['reason']),
    hold: textOrNull(row['hold']) as Hold | null,
    counts: {
      listed: Number(row['listed']),
      indexed: Number(row['indexed']),
      unchanged: Number(row['unchanged']),
      duplicate: Number(row['duplicate']),
      failed: Number(row['failed']),
    },
    planned: row['planned'] === 1,
    cursor: textOrNull(row['cursor']),
    nextChunkNo: Number(row['next_chunk_no']),
    createdAt: Number(row['created_at']),
    finishedAt: numberOrNull(row['finished_at']),
  };
}

export function text(value: SQLOutputValue | undefined): string {
  if (typeof value !== 'string') throw new SightlineError('store_damaged', 'A ledger row holds what is not text.');
  return value;
}

export function textOrNull(value: SQLOutputValue | undefined): string | null {
  return value === null ? null : text(value);
}

export function numberOrNull(value: SQLOutputValue | undefined): number | null {
  return value === null ? null : Number(value);
}
