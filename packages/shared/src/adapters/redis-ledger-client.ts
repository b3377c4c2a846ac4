import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { SightlineError } from '../runtime/errors.ts';
import { replyCode, toLedgerError } from './redis-ledger-errors.ts';
import type { RedisScript } from './redis-ledger-script.ts';

export type RedisArgument = string | number | Buffer;

/** Redis as the ledger's parts see it. Errors of all calls: `ledger_unavailable`, `ledger_full`. */
export interface LedgerClient {
  run(script: RedisScript, keys: string[], args: RedisArgument[]): Promise<unknown>;
  /** As `run`, with texts as bytes. */
  runBytes(script: RedisScript, keys: string[], args: RedisArgument[]): Promise<unknown>;
  /** One command on one key. */
  call(command: string, key: string, ...args: RedisArgument[]): Promise<unknown>;
  /** A command of the server's own, without a key. */
  ask(command: string, ...args: string[]): Promise<unknown>;
  close(): Promise<void>;
}

export interface LedgerPlace {
  /** `redis://`, `rediss://`; `redis+cluster://` or `rediss+cluster://` with any nodes, comma-separated, for Redis Cluster. */
  url: string;
  /** How long any one call may take, waiting for a connection included. */
  commandTimeoutMs: number;
}

const CONNECT_TIMEOUT_MS = 3_000;
const DISCONNECT_TIMEOUT_MS = 500;

/**
 * Connects. A command whose connection broke is not sent again behind the caller's back: it may have been done, and the caller
 * is told that nobody knows. Errors: `config_invalid`, `ledger_unavailable`.
 */
export async function openLedgerClient(place: LedgerPlace, onError: (error: Error) => void): Promise<LedgerClient> {
  let refusal: Error | null = null;
  const redis = connect(place, (error) => {
    if (replyCode(error) !== null) refusal = error;
    onError(error);
  });
  const send = <T>(work: Promise<T>): Promise<T> => within(work, place.commandTimeoutMs);
  const evaluate = async (script: RedisScript, keys: string[], args: RedisArgument[], asBytes: boolean): Promise<unknown> => {
    const rest = [keys.length, ...keys, ...args];
    const call = (command: string, what: string) =>
      send(asBytes ? redis.callBuffer(command, what, ...rest) : redis.call(command, what, ...rest));
    try {
      return await call('evalsha', script.sha).catch((error: unknown) => {
        // A server that was restarted, or a new primary, has no scripts yet.
        if (replyCode(error) === 'NOSCRIPT') return call('eval', script.lua);
        throw error;
      });
    } catch (error) {
      throw toLedgerError(error);
    }
  };
  const client: LedgerClient = {
    run: (script, keys, args) => evaluate(script, keys, args, false),
    runBytes: (script, keys, args) => evaluate(script, keys, args, true),
    call: (command, key, ...args) => rethrown(send(redis.call(command, key, ...args))),
    ask: (command, ...args) => rethrown(send(redis.call(command, ...args))),
    async close() {
      // QUIT lets what was sent be answered; a server that is away is not waited for.
      await send(redis.quit()).catch(() => undefined);
      redis.disconnect();
    },
  };
  try {
    await send(redis.connect());
    return client;
  } catch (error) {
    redis.disconnect();
    // A wrong password ends in no more than "connection is closed".
    throw toLedgerError(refusal ?? error);
  }
}

function connect({ url, commandTimeoutMs }: LedgerPlace, onError: (error: Error) => void): Redis | Cluster {
  const retryStrategy = (times: number): number => Math.min(50 * 2 ** times, 1_000);
  const options: RedisOptions = {
    connectTimeout: CONNECT_TIMEOUT_MS,
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    commandTimeout: commandTimeoutMs,
    maxRetriesPerRequest: 3,
    autoResendUnfulfilledCommands: false,
    retryStrategy,
    lazyConnect: true,
  };
  let redis: Redis | Cluster;
  const clustered = /^(rediss?)\+cluster:\/\/(.*)$/.exec(url);
  if (clustered) {
    const urls = `${clustered[2]}`.split(',').map((node) => parsed(`${clustered[1]}://${node}`));
    const [first] = urls;
    redis = new Cluster(
      urls.map(({ hostname, port }) => ({ host: hostname, port: Number(port) || 6379 })),
      {
        lazyConnect: true,
        clusterRetryStrategy: retryStrategy,
        slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
        redisOptions: {
          ...options,
          username: first?.username ? decodeURIComponent(first.username) : undefined,
          password: first?.password ? decodeURIComponent(first.password) : undefined,
          ...(clustered[1] === 'rediss' ? { tls: {} } : {}),
        },
      },
    );
  } else {
    parsed(url);
    redis = new Redis(url, options);
  }
  redis.on('error', onError);
  return redis;
}

function parsed(url: string): URL {
  if (URL.canParse(url) && /^rediss?:$/.test(new URL(url).protocol)) return new URL(url);
  throw new SightlineError('config_invalid', 'LEDGER_REDIS_URL is redis://, rediss://, redis+cluster:// or rediss+cluster://.');
}

async function rethrown<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw toLedgerError(error);
  }
}

/** ioredis' own limit does not hold while a cluster's nodes are looked for. */
async function within<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new SightlineError('ledger_unavailable', `Redis did not answer within ${timeoutMs} ms.`)),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
