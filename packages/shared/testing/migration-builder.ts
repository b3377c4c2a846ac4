import type { Migration } from '../src/contracts/migrations.ts';
import { migrationBounds } from '../src/contracts/migrations.ts';

/** A migration that was just asked for. */
export function newMigration(migrationId: string, more: Partial<Migration> = {}): Migration {
  const spec = { image: { fingerprint: 'old-image', dimensions: 8 }, text: { fingerprint: 'old-text', dimensions: 6 } };
  return {
    migrationId,
    pack: 'other',
    status: 'waiting',
    revision: 0,
    hold: null,
    reason: null,
    queries: [],
    bounds: migrationBounds.parse({}),
    previewOnly: false,
    autoCutOver: false,
    from: { version: 1, pack: null, spec },
    to: null,
    preview: null,
    fill: { cursor: null, scanned: 0, total: 0, startedAt: null, endedAt: null },
    gate: null,
    createdAt: 1,
    finishedAt: null,
    ...more,
  };
}
