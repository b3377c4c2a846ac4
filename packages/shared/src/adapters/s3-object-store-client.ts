import { S3Client } from '@aws-sdk/client-s3';
import { retryStrategy, type RetryDeps } from './s3-object-store-retry.ts';

/** Where the store is and how it is asked. */
export interface S3Place {
  /** For MinIO, Versity, Ceph and others; absent: AWS's own of the region. */
  endpoint?: string;
  region: string;
  /** `endpoint/bucket/key` instead of `bucket.endpoint/key`: what a gateway without wildcard DNS needs. */
  forcePathStyle: boolean;
  /** The bucket that SYSTEM_BUCKET stands for: queries' pictures, thumbnails, reports. */
  systemBucket: string;
  /** Absent: the SDK's chain (AWS_* variables, profile, web identity, instance role). */
  credentials?: { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
  /** Of a request, the first among them. */
  maxAttempts: number;
  /** Until a connection stands. */
  connectTimeoutMs?: number;
  /** Until the answer's head is there, the sending of what is put among it. */
  requestTimeoutMs?: number;
  /** The longest silence within a body. */
  stallTimeoutMs?: number;
  /** More than are asked for at once: a request that waits for a socket counts towards `connectTimeoutMs`. */
  maxSockets?: number;
  /** A listing reads ahead by so many requests at once and so many keys in all; a page has 1,000 keys unless the store gives fewer. */
  listAhead?: { requests: number; keys: number; pageKeys?: number };
}

export const S3_DEFAULTS = {
  connectTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  stallTimeoutMs: 30_000,
  maxSockets: 128,
  listAhead: { requests: 8, keys: 32_000 },
} as const;

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

export function s3Client(place: S3Place, deps: RetryDeps): S3Client {
  const agent = { keepAlive: true, maxSockets: place.maxSockets ?? S3_DEFAULTS.maxSockets };
  return new S3Client({
    region: place.region,
    forcePathStyle: place.forcePathStyle,
    ...(place.endpoint === undefined ? {} : { endpoint: place.endpoint }),
    ...(place.credentials === undefined ? {} : { credentials: place.credentials }),
    // Since 2025 the SDK adds CRC32 trailers to every upload and asks for checksums with every download; gateways older than
    // that refuse the trailers or answer without. Lengths and eTags are checked here.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // A bucket in another region is told, not followed: the redirect costs every request a round trip.
    followRegionRedirects: false,
    maxAttempts: place.maxAttempts,
    retryStrategy: retryStrategy(place.maxAttempts, deps),
    logger: SILENT,
    requestHandler: {
      connectionTimeout: place.connectTimeoutMs ?? S3_DEFAULTS.connectTimeoutMs,
      requestTimeout: place.requestTimeoutMs ?? S3_DEFAULTS.requestTimeoutMs,
      // Else the SDK only warns of it.
      throwOnRequestTimeout: true,
      httpAgent: agent,
      httpsAgent: agent,
      logger: SILENT,
    },
  });
}
