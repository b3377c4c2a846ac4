import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { SightlineError } from '@sightline/shared/runtime/errors';

/** What is counted apart. `search`, `ingest`, `ask` and `read` a key; `public` and `refused` (no valid key) an address. */
export type Budget = 'search' | 'ingest' | 'ask' | 'read' | 'public' | 'refused';

/** Requests a minute. */
export type RateLimitConfig = Record<Budget, number>;

const WINDOW_SECONDS = 60;
/** A request waits for its limit no longer than this. */
const STORE_TIMEOUT_MS = 250;

/** Where replicas count together. */
export interface RateLimitStore {
  client: Redis;
  prefix: string;
}

/** A connection of its own, which answers soon or fails: a request does not wait for Redis to come back. */
export function openRateLimitStore({ redisUrl, prefix }: { redisUrl: string; prefix: string }, logger: Logger): RateLimitStore {
  const client = new Redis(redisUrl, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: STORE_TIMEOUT_MS,
    // What holds the process at its end while Redis is away.
    disconnectTimeout: STORE_TIMEOUT_MS,
  });
  client.on('error', (error) => logger.warn({ err: error }, 'rate limits are not counted'));
  return { client, prefix };
}

/**
 * Rate limits in fixed windows of a minute. Counted in Redis where there is one, so that all replicas count together, else in this
 * process. A Redis that does not answer lets requests pass: the limits are there for fairness, the keys for protection.
 */
export class RateLimits {
  readonly #limiters: Record<Budget, ReturnType<FastifyInstance['createRateLimit']>>;

  private constructor(app: FastifyInstance, perMinute: RateLimitConfig) {
    const limiter = (budget: Budget) =>
      app.createRateLimit({
        max: perMinute[budget],
        timeWindow: WINDOW_SECONDS * 1000,
        skipOnError: true,
        keyGenerator: (request) => `${budget}:${request.caller?.keyId ?? rateLimit.normalizeIP(request.ip)}`,
      });
    this.#limiters = {
      search: limiter('search'),
      ingest: limiter('ingest'),
      ask: limiter('ask'),
      read: limiter('read'),
      public: limiter('public'),
      refused: limiter('refused'),
    };
  }

  static async open(app: FastifyInstance, perMinute: RateLimitConfig, redis?: RateLimitStore): Promise<RateLimits> {
    const store = redis ? { redis: redis.client, nameSpace: `${redis.prefix}:rate-limit:` } : { cache: 20_000 };
    await app.register(rateLimit, { global: false, ...store });
    return new RateLimits(app, perMinute);
  }

  /** Counts the request. Error: `rate_limited`, with Retry-After. */
  take(budget: Budget, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    return this.#look(budget, request, reply, true);
  }

  /** Counts nothing, and refuses who has used the budget up. Error: `rate_limited`. */
  assertLeft(budget: Budget, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    return this.#look(budget, request, reply, false);
  }

  async #look(budget: Budget, request: FastifyRequest, reply: FastifyReply, increment: boolean): Promise<void> {
    const state = await this.#limiters[budget](request, { increment });
    if (state.isAllowed) return;
    const { max, remaining, ttlInSeconds } = state;
    const isOver = increment ? state.isExceeded : remaining === 0 && ttlInSeconds > 0;
    if (increment || isOver) {
      // The fields of the IETF draft (draft-ietf-httpapi-ratelimit-headers-10).
      void reply.headers({
        'ratelimit-policy': `"${budget}";q=${max};w=${WINDOW_SECONDS}`,
        ratelimit: `"${budget}";r=${remaining};t=${ttlInSeconds}`,
      });
    }
    if (!isOver) return;
    void reply.header('retry-after', Math.max(1, ttlInSeconds));
    throw new SightlineError('rate_limited', `At most ${max} a minute.`);
  }
}
