import { pino } from 'pino';
import type { DestinationStream, Logger } from 'pino';

/** Values under these names are never written, wherever in a line they stand up to two levels deep. */
const SECRETS = [
  'password',
  'secret',
  'token',
  'authorization',
  'apiKey',
  'api_key',
  'cookie',
  'redisUrl',
  'postgresUrl',
  'connectionString',
];

/** Structured logs, one JSON object a line. `service` is on every line; trace ids come from child loggers. */
export function openLogger(options: { service: string; level: string }, destination?: DestinationStream): Logger {
  const settings = {
    level: options.level,
    base: { service: options.service, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: '[redacted]' },
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return destination ? pino(settings, destination) : pino(settings);
}
