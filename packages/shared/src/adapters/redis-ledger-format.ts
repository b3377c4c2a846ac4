import type { Logger } from 'pino';
import { SightlineError } from '../runtime/errors.ts';
import type { LedgerClient } from './redis-ledger-client.ts';
import type { LedgerKeys } from './redis-ledger-keys.ts';
import { asFields, asNumber, asText } from './redis-ledger-reply.ts';
import { redisScript } from './redis-ledger-script.ts';

/**
 * What leads from format n + 1 to n + 2. A step may be broken off and is then done again, by several processes at once even:
 * each is safe to repeat.
 */
const MIGRATIONS: readonly ((client: LedgerClient, keys: LedgerKeys) => Promise<void>)[] = [];
const FORMAT = MIGRATIONS.length + 1;

/** KEYS[1] the format, ARGV[1] ours. Writes ours down where there is none, answers what is there. */
const READ_FORMAT = redisScript(
  `
redis.call('SETNX', KEYS[1], ARGV[1])
return redis.call('GET', KEYS[1])`,
  { full: 'allow' },
);
/** Only upwards. */
const RAISE_FORMAT = redisScript(
  `
if tonumber(redis.call('GET', KEYS[1])) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
return 1`,
  { full: 'allow' },
);

/** Brings what is there up to this version's format. Error: `store_format_unsupported`. */
export async function openLedgerFormat(client: LedgerClient, keys: LedgerKeys): Promise<void> {
  await assertRedisKnown(client);
  const there = asNumber(await client.run(READ_FORMAT, [keys.format], [FORMAT]));
  if (there > FORMAT) {
    throw new SightlineError(
      'store_format_unsupported',
      `The ledger in Redis is of format ${there}, this version knows up to ${FORMAT}: start the newer Sightline that wrote it, ` +
        'or name another prefix and ingest again.',
    );
  }
  for (const [n, migrate] of MIGRATIONS.slice(there - 1).entries()) {
    await migrate(client, keys);
    await client.run(RAISE_FORMAT, [keys.format], [there + n + 1]);
  }
}

async function assertRedisKnown(client: LedgerClient): Promise<void> {
  // Who may not ask goes on: an older one refuses the first script.
  const info = await client.ask('info', 'server').catch(() => '');
  const version = /redis_version:(\d+)/.exec(asText(info))?.[1];
  if (version !== undefined && Number(version) < 7) {
    throw new SightlineError('store_format_unsupported', `The ledger needs Redis 7 or newer, this is ${version}.`);
  }
}

const WANTED = [
  ['appendonly', 'yes', 'a restart of Redis loses the ledger'],
  ['appendfsync', 'always', 'what was accepted in the last second before a crash of its machine can be lost'],
  ['maxmemory-policy', 'noeviction', 'Redis may throw parts of the ledger away: set noeviction before you rely on it'],
] as const;

/** Warns of settings under which Redis does not keep what it was given. Managed ones that forbid the question are let be. */
export async function warnOfRedisSettings(client: LedgerClient, logger: Pick<Logger, 'warn'>): Promise<void> {
  for (const [setting, wanted, consequence] of WANTED) {
    const reply = await client.ask('config', 'get', setting).catch(() => null);
    const value = reply === null ? undefined : asFields(reply).get(setting);
    if (value !== undefined && value !== wanted) logger.warn({ setting, value, wanted }, `ledger's Redis: ${consequence}`);
  }
}
