import type { DatabaseSync } from 'node:sqlite';
import { openDatabase } from './sqlite-database.ts';
import { answerMethods } from './sqlite-ledger-answers.ts';
import { apiKeyMethods } from './sqlite-ledger-api-keys.ts';
import { changeMethods } from './sqlite-ledger-changes.ts';
import { auditMethods } from './sqlite-ledger-audits.ts';
import { chunkMethods } from './sqlite-ledger-chunks.ts';
import { failureMethods } from './sqlite-ledger-failures.ts';
import { deliveryMethods } from './sqlite-ledger-deliveries.ts';
import { feedbackMethods } from './sqlite-ledger-feedback.ts';
import { LEDGER_FORMAT } from './sqlite-ledger-format.ts';
import { ingestionMethods } from './sqlite-ledger-ingestions.ts';
import { leaseMethods } from './sqlite-ledger-leases.ts';
import { migrationMethods } from './sqlite-ledger-migrations.ts';
import { outboxMethods } from './sqlite-ledger-outbox.ts';
import { questionMethods } from './sqlite-ledger-questions.ts';
import { ledgerDatabase } from './sqlite-ledger-rows.ts';
import { settingMethods } from './sqlite-ledger-settings.ts';
import { webhookMethods } from './sqlite-ledger-webhooks.ts';

export interface LedgerStoreOptions {
  file: string;
  readOnly: boolean;
  busyTimeoutMs?: number;
}

export type LedgerMethods = ReturnType<typeof methods>;

/** The thread's side of SqliteLedger. */
export function open({ file, readOnly, busyTimeoutMs }: LedgerStoreOptions): { methods: LedgerMethods; close: () => void } {
  const db = openDatabase({ file, format: LEDGER_FORMAT, readOnly, busyTimeoutMs });
  return { methods: methods(db), close: () => db.close() };
}

function methods(db: DatabaseSync) {
  const database = ledgerDatabase(db);
  return {
    ...ingestionMethods(database),
    ...chunkMethods(database),
    ...changeMethods(database),
    ...failureMethods(database),
    ...leaseMethods(database),
    ...settingMethods(database),
    ...apiKeyMethods(database),
    ...auditMethods(database),
    ...migrationMethods(database),
    ...questionMethods(database),
    ...answerMethods(database),
    ...feedbackMethods(database),
    ...webhookMethods(database),
    ...outboxMethods(database),
    ...deliveryMethods(database),
  };
}
