import { z } from 'zod';
import { tenantName } from '@sightline/shared/contracts/api-key';
import { DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import { ENGINE_SETTINGS } from '@sightline/shared/runtime/engine-settings';
import {
  EGRESS_SETTINGS,
  healthPort,
  SHARED_SETTINGS,
  setting,
  wholeNumber,
  type ConfigOf,
} from '@sightline/shared/runtime/config';
import type { queryApiConfig } from './config.ts';

const list = z
  .string()
  .default('')
  .transform((text) => text.split(',').flatMap((one) => one.trim() || []));
const perMinute = (fallback: number) => wholeNumber(1, 1_000_000_000).default(fallback);

/** What the public HTTP interface is set up by, as a process of its own and in the embedded stack. */
export const HTTP_SETTINGS = {
  host: setting(
    'HOST',
    z.string().min(1).default('127.0.0.1'),
    'Address that the HTTP interface listens on. Directories are accepted as sources on the loopback interface only.',
  ),
  port: setting('PORT', wholeNumber(0, 65_535).default(8080), 'Port of the HTTP interface; 0 takes a free one.'),
  auth: setting(
    'AUTH',
    z.enum(['none', 'keys'], 'expected none or keys').optional(),
    'Whether API keys are asked for: `keys`, or `none`, which is for the loopback interface only. By default `none` there, unless ALLOWED_HOSTS names further hosts, and `keys` elsewhere.',
  ),
  allowedHosts: setting(
    'ALLOWED_HOSTS',
    list,
    'Without keys: further values of the Host header that are answered, comma-separated, beside the loopback ones.',
  ),
  sources: SHARED_SETTINGS.ingestSources,
  ...EGRESS_SETTINGS,
  operatorTenant: setting(
    'OPERATOR_TENANT',
    tenantName.default(DEFAULT_TENANT),
    'The tenant whose admin keys may do what concerns the whole stack: migrate its index.',
  ),
  trustedProxies: setting(
    'TRUSTED_PROXIES',
    list,
    "Proxies in front, as addresses or CIDR ranges, comma-separated: their X-Forwarded-For is taken for the client's address in rate limits.",
  ),
  searchesPerMinute: setting('RATE_LIMIT_SEARCH', perMinute(600), 'Searches a minute of one API key.'),
  ingestsPerMinute: setting(
    'RATE_LIMIT_INGEST',
    perMinute(300),
    'Ingestions, removals and changes of keys a minute of one API key.',
  ),
  asksPerMinute: setting('RATE_LIMIT_ASK', perMinute(300), 'Questions a minute of one API key.'),
  readsPerMinute: setting('RATE_LIMIT_READ', perMinute(6_000), 'Other requests a minute of one API key, pictures among them.'),
  publicPerMinute: setting('RATE_LIMIT_PUBLIC', perMinute(1_200), 'Requests a minute of one address for what needs no key.'),
  refusedPerMinute: setting(
    'RATE_LIMIT_REFUSED',
    perMinute(60),
    'Requests a minute of one address without a valid key, until 429 is answered.',
  ),
  questionBacklog: setting(
    'QUESTION_BACKLOG',
    wholeNumber(1, 1_000_000).default(1_000),
    'Questions of all tenants that may wait or be worked at once; more are refused with 429 and Retry-After.',
  ),
};

/** The settings as `queryApiConfig` takes them. */
export function httpConfigOf(config: ConfigOf<typeof HTTP_SETTINGS>): z.input<typeof queryApiConfig> {
  const { host, port, auth, allowedHosts, trustedProxies, sources, operatorTenant } = config;
  return {
    allowedSources: sources,
    host,
    port,
    allowedHosts,
    trustedProxies,
    operatorTenant,
    maxQuestionBacklog: config.questionBacklog,
    egress: { allowHttp: config.egressAllowHttp, allowAddresses: config.egressAllow },
    ...(auth ? { auth } : {}),
    requestsPerMinute: {
      search: config.searchesPerMinute,
      ingest: config.ingestsPerMinute,
      ask: config.asksPerMinute,
      read: config.readsPerMinute,
      public: config.publicPerMinute,
      refused: config.refusedPerMinute,
    },
  };
}

export const SETTINGS = {
  redisUrl: SHARED_SETTINGS.redisUrl,
  ...ENGINE_SETTINGS,
  ...HTTP_SETTINGS,
  healthHost: SHARED_SETTINGS.healthHost,
  healthPort: healthPort(8_084),
};
