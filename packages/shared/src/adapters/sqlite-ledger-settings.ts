import { text, type LedgerDatabase } from './sqlite-ledger-rows.ts';

/** Ledger's methods on settings. */
export function settingMethods({ sql }: LedgerDatabase) {
  return {
    getSetting(name: string): string | null {
      const row = sql('SELECT value FROM ledger_settings WHERE name = ?').get(name);
      return row ? text(row['value']) : null;
    },

    putSetting(name: string, value: string | null): void {
      if (value === null) {
        sql('DELETE FROM ledger_settings WHERE name = ?').run(name);
        return;
      }
      sql('INSERT INTO ledger_settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value').run(name, value);
    },
  };
}
