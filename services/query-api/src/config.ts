import { z } from 'zod';
import { DEFAULT_TENANT } from '@sightline/shared/contracts/ids';

const MIB = 1024 * 1024;

/** How query-api runs; every value has a default. Durations and sizes carry their unit in the name. */
export const queryApiConfig = z.strictObject({
  host: z.string().min(1).default('127.0.0.1'),
  /** 0 takes a free port. */
  port: z.int().min(0).max(65_535).default(8080),
  /** Directories and local manifests may be ingested by requests that come over the loopback interface: the embedded stack only. */
  allowDirectorySources: z.boolean().default(false),
  /** Places of the object store that may be ingested: `bucket` or `bucket/folder`, `{tenant}` standing for the caller's. */
  allowedSources: z.array(z.string().min(1)).default([]),
  /** Further `host` or `host:port` values of the Host header, beside the loopback ones. */
  allowedHosts: z.array(z.string().min(1)).default([]),
  /** Whether API keys are asked for. Absent: on the loopback interface without further hosts they are not, else they are. */
  auth: z.enum(['none', 'keys']).optional(),
  /** Whose admin keys are for what concerns the whole stack and no tenant. */
  operatorTenant: z.string().min(1).default(DEFAULT_TENANT),
  /** Proxies (addresses or CIDR ranges) whose X-Forwarded-For names the client's address. */
  trustedProxies: z.array(z.string().min(1)).default([]),
  /** Requests a minute: of one key, or of one address for `public` and `refused`. Counted only where keys are in use. */
  requestsPerMinute: z
    .strictObject({
      search: z.int().positive().default(600),
      ingest: z.int().positive().default(300),
      ask: z.int().positive().default(300),
      read: z.int().positive().default(6_000),
      public: z.int().positive().default(1_200),
      refused: z.int().positive().default(60),
    })
    .prefault({}),
  maxQueryPictureBytes: z
    .int()
    .positive()
    .default(10 * MIB),
  /** Of a source's picture, for thumbnails. */
  maxPictureBytes: z
    .int()
    .positive()
    .default(64 * MIB),
  encodeTimeoutMs: z.int().positive().default(5_000),
  searchesRunning: z.int().positive().default(16),
  searchesWaiting: z.int().nonnegative().default(64),
  thumbnailsRunning: z.int().positive().default(2),
  thumbnailsWaiting: z.int().nonnegative().default(200),
  progressListeners: z.int().positive().default(100),
  progressIntervalMs: z.int().positive().default(500),
  /** Questions of all tenants that may be unfinished at once; more are refused with the time after which to ask again. */
  maxQuestionBacklog: z.int().positive().default(1_000),
  questionListeners: z.int().positive().default(1_000),
  /** Between two looks for what is told of a question: while something comes, and when it has been quiet for long. */
  questionIntervalMs: z.int().positive().default(100),
  longestQuestionIntervalMs: z.int().positive().default(1_000),
  heartbeatMs: z.int().positive().default(15_000),
  /** What of the addresses that users give is called: `http:` too, and what is not of the public internet. */
  egress: z
    .strictObject({ allowHttp: z.boolean().default(false), allowAddresses: z.array(z.string().min(1)).default([]) })
    .prefault({}),
  /** A question's picture by its address, from the call to the last byte. */
  pictureUrlTimeoutMs: z.int().positive().default(10_000),
  /** Between the two passes of a tenant's deletion: longer than a process remembers a key. */
  tenantDrainMs: z.int().nonnegative().default(5_000),
  /** Thumbnails and leftover query pictures are swept this often. */
  sweepIntervalMs: z
    .int()
    .positive()
    .default(10 * 60_000),
});
export type QueryApiConfig = z.output<typeof queryApiConfig>;
