import { isMigrationOver, migrationRecord, type Migration } from '../contracts/migrations.ts';
import {
  standingOf,
  type IndexWriting,
  type MigrationLedger,
  type NotedWrite,
  type OwedPoint,
  type PointName,
} from '../ports/migration-ledger.ts';
import type { ErrorCode } from '../runtime/errors.ts';
import type { LedgerClient } from './redis-ledger-client.ts';
import type { LedgerKeys } from './redis-ledger-keys.ts';
import {
  ADD_MIGRATION,
  CHANGE_MIGRATION,
  DROP_COPIES,
  FREE_WRITES,
  NOTE_WRITES,
  OWE_COPIES,
  RETRY_COPIES,
  SETTLE_COPIES,
  TAKE_COPIES,
} from './redis-ledger-migration-scripts.ts';
import { asFields, asList, asNumber, asText } from './redis-ledger-reply.ts';

const nameOf = ({ tenant, assetId }: PointName): string => JSON.stringify([tenant, assetId]);

function pointOf(name: string): PointName {
  const [tenant, assetId] = JSON.parse(name) as [string, string];
  return { tenant, assetId };
}

const toMigration = (record: unknown): Migration => migrationRecord.parse(JSON.parse(asText(record)));

/**
 * Ledger's methods on migrations, on Redis, under the hash tag `{prefix:migrate}`. `records` (hash by id) and `order` (ids by time of
 * creation) are the migrations, `current` the id of the one that is not over, `writing` the index writing. What a version is owed:
 * `turns` (sorted by when a point may be given out), `copies` (hash of name to generation, hold and claim), `failed` (hash of name
 * to code and reason).
 */
export function redisMigrations(client: LedgerClient, { migrations }: LedgerKeys): MigrationLedger {
  const shared = [migrations.records, migrations.order, migrations.current, migrations.writing];
  const owedKeys = (version: number): string[] => [migrations.generation, ...migrations.owed(version)];

  return {
    async addMigration(migration) {
      const { migrationId, createdAt } = migration;
      const over = isMigrationOver(migration) ? 1 : 0;
      return (await client.run(ADD_MIGRATION, shared, [migrationId, createdAt, over, JSON.stringify(migration)])) === 1;
    },

    async getMigration(migrationId) {
      const record = await client.call('hget', migrations.records, migrationId);
      return record === null ? null : toMigration(record);
    },

    async listMigrations(limit) {
      if (limit <= 0) return [];
      const ids = asList(await client.call('zrange', migrations.order, 0, limit - 1, 'REV')).map(asText);
      if (ids.length === 0) return [];
      const records = asList(await client.call('hmget', migrations.records, ...ids));
      return records.filter((record) => record !== null).map(toMigration);
    },

    async changeMigration(migration, writing) {
      const over = isMigrationOver(migration) ? 1 : 0;
      const { version, mirror, closed } = writing ?? {};
      const reply = await client.run(CHANGE_MIGRATION, shared, [
        migration.migrationId,
        migration.revision,
        over,
        JSON.stringify(migration),
        writing ? 1 : 0,
        version ?? '',
        mirror ?? '',
        closed ?? '',
      ]);
      return reply === 1;
    },

    async indexWriting() {
      return writingOf(asFields(await client.call('hgetall', migrations.writing)));
    },

    async noteWrites(version, points, { heldUntil }): Promise<NotedWrite> {
      // Which version is the mirror is known inside the script alone, and its keys must be named: there are two candidates at most.
      for (;;) {
        const writing = writingOf(asFields(await client.call('hgetall', migrations.writing)));
        const outcome = standingOf(writing, version);
        if (outcome !== 'noted') return { outcome };
        const mirror = writing?.mirror ?? null;
        if (mirror === null) return { outcome, mirror, generation: 0 };
        const reply = asNumber(
          await client.run(
            NOTE_WRITES,
            [migrations.writing, ...owedKeys(mirror)],
            [version, mirror, heldUntil, ...points.map(nameOf)],
          ),
        );
        // Changed between the look and the step: looked at again.
        if (reply >= 0) return { outcome, mirror, generation: reply };
      }
    },

    async freeWrites(mirror, points, { generation, at }) {
      await client.run(FREE_WRITES, owedKeys(mirror), [generation, at, ...points.map(nameOf)]);
    },

    async oweCopies(version, points, at) {
      await client.run(OWE_COPIES, owedKeys(version), [at, ...points.map(nameOf)]);
    },

    async takeCopies(version, { limit, claimMs, at }): Promise<OwedPoint[]> {
      const reply = asList(await client.run(TAKE_COPIES, owedKeys(version), [limit, claimMs, at]));
      return reply.map((one) => {
        const [name, generation] = asList(one);
        return { ...pointOf(asText(name)), generation: asNumber(generation) };
      });
    },

    async settleCopies(version, settled) {
      const args = settled.flatMap(({ generation, retryAt, failure, ...point }) => [
        nameOf(point),
        generation,
        retryAt ?? '',
        failure ? JSON.stringify([failure.code, failure.reason]) : '',
      ]);
      if (args.length > 0) await client.run(SETTLE_COPIES, owedKeys(version), args);
    },

    async countCopies(version) {
      const [turns = '', , failed = ''] = migrations.owed(version);
      return { owed: asNumber(await client.call('zcard', turns)), failed: asNumber(await client.call('hlen', failed)) };
    },

    async stillOwed(version, points) {
      if (points.length === 0) return [];
      const [turns = ''] = migrations.owed(version);
      const scores = asList(await client.call('zmscore', turns, ...points.map(nameOf)));
      return points.filter((_, i) => scores[i] !== null);
    },

    async failedCopies(version, limit) {
      const [, , failed = ''] = migrations.owed(version);
      const all = asFields(await client.call('hgetall', failed));
      const names = [...all].toSorted(([a], [b]) => (a < b ? -1 : 1)).slice(0, Math.max(0, limit));
      return names.map(([name, told]) => {
        const [code, reason] = JSON.parse(told) as [ErrorCode, string];
        return { ...pointOf(name), code, reason };
      });
    },

    async retryCopies(version, at) {
      const failed = await this.countCopies(version);
      await client.run(RETRY_COPIES, owedKeys(version), [at]);
      return failed.failed;
    },

    async dropCopies(version) {
      await client.run(DROP_COPIES, owedKeys(version), []);
    },
  };
}

function writingOf(fields: Map<string, string>): IndexWriting | null {
  if (fields.size === 0) return null;
  const numberAt = (name: string): number | null => {
    const value = fields.get(name) ?? '';
    return value === '' ? null : asNumber(value);
  };
  return { version: numberAt('version'), mirror: numberAt('mirror'), closed: numberAt('closed') };
}
