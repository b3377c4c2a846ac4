import { isMigrationOver, type Migration, type MigrationStatus } from '@sightline/shared/contracts/migrations';
import { isSameSpec } from '@sightline/shared/migration/same-spec';
import type { Encoder } from '../encoder.ts';

/** Which side of a migration a worker's encoder is on; null when it has no part in it. */
export type MigrationRole = 'from' | 'to' | null;

export function roleIn(migration: Migration, encoder: Pick<Encoder, 'spec' | 'packName'>, pack: string): MigrationRole {
  if (isMigrationOver(migration)) return null;
  if (isSameSpec(migration.from.spec, encoder.spec)) return 'from';
  if (migration.to) return isSameSpec(migration.to.spec, encoder.spec) ? 'to' : null;
  return migration.pack === pack || migration.pack === encoder.packName ? 'to' : null;
}

/** While both versions are kept in step. */
const MIRRORED: readonly MigrationStatus[] = ['filling', 'verifying', 'ready', 'cutting_over', 'serving', 'rolling_back'];

/** From the cut-over on: what is written comes from the new version. */
const AFTER: readonly MigrationStatus[] = ['serving', 'rolling_back'];

/** The version that a worker of this role keeps in step, and whether that one serves. Null while there is nothing to do. */
export function targetOf(migration: Migration, role: MigrationRole): { source: number; target: number; isLate: boolean } | null {
  const { from, to, status, hold, fill } = migration;
  if (!to || !role || fill.startedAt === null || !MIRRORED.includes(status) || (hold === 'user' && !AFTER.includes(status)))
    return null;
  const isAfter = AFTER.includes(status);
  if (role === 'to') return { source: from.version, target: to.version, isLate: isAfter };
  return isAfter ? { source: to.version, target: from.version, isLate: false } : null;
}
