import { z } from 'zod';
import { parseAllowRule } from '../adapters/guarded-address.ts';
import { SightlineError } from './errors.ts';

/** One environment variable: how it is read, and what docs/configuration.md says of it. */
export interface Setting<T> {
  variable: string;
  schema: z.ZodType<T>;
  description: string;
  /** Its value, and what the schema says of its value, are never shown. */
  secret: boolean;
}

export function setting<T>(
  variable: string,
  schema: z.ZodType<T>,
  description: string,
  options: { secret?: boolean } = {},
): Setting<T> {
  return { variable, schema, description, secret: options.secret ?? false };
}

export type Settings = Record<string, Setting<unknown>>;
export type ConfigOf<S extends Settings> = { readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never };

/**
 * The configuration from an environment; an empty variable counts as absent. Errors: `config_invalid`, naming every variable
 * that is wrong and what was expected of it.
 */
export function readConfig<S extends Settings>(settings: S, env: Record<string, string | undefined>): ConfigOf<S> {
  const values: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [name, { variable, schema, secret }] of Object.entries(settings)) {
    const parsed = schema.safeParse(env[variable] === '' ? undefined : env[variable]);
    if (parsed.success) values[name] = parsed.data;
    else
      problems.push(
        `${variable}: ${secret ? 'not of the expected form' : parsed.error.issues.map((issue) => issue.message).join('; ')}`,
      );
  }
  if (problems.length > 0) throw new SightlineError('config_invalid', problems.join(' | '));
  // Every key of S was filled from S's own schema.
  return Object.freeze(values) as ConfigOf<S>;
}

/** A whole number of at least `min` and at most `max`. */
export function wholeNumber(min: number, max: number): z.ZodType<number> {
  const expected = `expected a whole number from ${min} to ${max}`;
  return z
    .string(expected)
    .regex(/^\d{1,15}$/, expected)
    .transform(Number)
    .refine((value) => value >= min && value <= max, expected);
}

const DURATION_UNITS_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Milliseconds from `90s`, `15m`, `24h` or `7d`, of at least `least` and at most `most` in the same form. */
export function duration(least: string, most: string): z.ZodType<number> {
  const expected = `expected a duration from ${least} to ${most}, such as 90s, 15m, 24h or 7d`;
  return z
    .string(expected)
    .refine((text) => toMs(text) !== null, expected)
    .transform((text) => toMs(text) ?? 0)
    .refine((ms) => ms >= (toMs(least) ?? 0) && ms <= (toMs(most) ?? 0), expected);
}

function toMs(text: string): number | null {
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  return count === undefined ? null : Number(count) * DURATION_UNITS_MS[unit as keyof typeof DURATION_UNITS_MS];
}

/** `true` or `false`. */
export function flag(fallback: boolean): z.ZodType<boolean> {
  return z
    .enum(['true', 'false'], 'expected true or false')
    .default(fallback ? 'true' : 'false')
    .transform((text) => text === 'true');
}

/** A URL of one of the given schemes, as text. */
export function urlOf(...schemes: string[]): z.ZodType<string> {
  const expected = `expected a URL that starts with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`;
  return z
    .string(expected)
    .refine((value) => URL.canParse(value) && schemes.some((scheme) => value.startsWith(`${scheme}://`)), expected);
}

/** Settings that more than one `main.ts` reads. */
export const SHARED_SETTINGS = {
  ingestSources: setting(
    'INGEST_SOURCES',
    z
      .string()
      .default('')
      .transform((text) => text.split(',').flatMap((one) => one.trim() || [])),
    'Places of the object store that may be ingested, and that records may name pictures of, comma-separated: `bucket` or `bucket/folder`; `{tenant}` stands for the tenant, so that `catalogue/{tenant}` gives each its own folder. Default: none.',
  ),
  logLevel: setting(
    'LOG_LEVEL',
    z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info'),
    'Least severe log lines that are written.',
  ),
  shutdownDeadlineMs: setting(
    'SHUTDOWN_DEADLINE_MS',
    wholeNumber(1_000, 600_000).default(25_000),
    'After SIGTERM or SIGINT: how long running work is waited for before it is handed back. Shorter than what the orchestrator waits before SIGKILL.',
  ),
  dataDir: setting(
    'DATA_DIR',
    z.string().min(1).default('.sightline'),
    'Directory where the embedded stack keeps everything: index, ledger, queue, thumbnails.',
  ),
  /** For services that run as processes of their own: the queue's embedded PostgreSQL belongs to one process. */
  redisUrl: setting(
    'REDIS_URL',
    urlOf('redis', 'rediss'),
    'Redis of the queue. Services that run as separate processes need one.',
    { secret: true },
  ),
  optionalRedisUrl: setting(
    'REDIS_URL',
    urlOf('redis', 'rediss').optional(),
    'Redis of the queue, instead of the embedded PostgreSQL.',
    { secret: true },
  ),
  healthHost: setting(
    'HEALTH_HOST',
    z.string().min(1).default('127.0.0.1'),
    'Address that /healthz, /readyz and /metrics of a worker listen on.',
  ),
  queuePrefix: setting(
    'QUEUE_PREFIX',
    z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,40}$/, 'expected letters, digits, _ and -, at most 40')
      .default('sightline'),
    'What every key of the queue in Redis starts with.',
  ),
  encoderPack: setting(
    'ENCODER_PACK',
    z.string().min(1).default('starter'),
    'The encoder pack: a directory, or the name of one under models/.',
  ),
  packDir: setting(
    'PACK_DIR',
    z.string().min(1).default('models'),
    'Directory where packs are looked for by name, after those below the data directory.',
  ),
  encoderThreads: setting(
    'ENCODER_THREADS',
    wholeNumber(0, 256).default(0),
    'Threads the encoder computes with; 0 means one per core.',
  ),
} as const;

/** What services read that call addresses which users give. */
export const EGRESS_SETTINGS = {
  egressAllowHttp: setting(
    'EGRESS_ALLOW_HTTP',
    flag(false),
    'Whether addresses that users give (webhooks, pictures of questions) may be plain `http:`; else only `https:` is called.',
  ),
  egressAllow: setting(
    'EGRESS_ALLOW',
    z
      .string()
      .default('')
      .transform((text) => text.split(',').flatMap((one) => one.trim() || []))
      .refine(
        (entries) => entries.every((entry) => parseAllowRule(entry) !== null),
        'expected addresses, ranges such as 10.1.0.0/16, or host:port, comma-separated',
      ),
    'What may be called though it is not of the public internet, comma-separated: `10.1.2.3`, `10.1.0.0/16`, `10.1.2.3:8443`, `[fd00::1]:8443`, `hooks.corp.internal:443`. A range opens ports from 1024 and 443, the last three forms the port that they name; a name is then called wherever it leads. Default: none.',
  ),
} as const;

/** Each worker has a port of its own, so that all can run on one machine. */
export function healthPort(port: number) {
  return setting(
    'HEALTH_PORT',
    wholeNumber(0, 65_535).default(port),
    'Port of /healthz, /readyz and /metrics; 0 takes a free one.',
  );
}
