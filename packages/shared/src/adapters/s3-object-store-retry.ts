import type { S3ClientConfig } from '@aws-sdk/client-s3';

const BASE_DELAY_MS = 100;
/** A store that throttles asks for less, not for the same a moment later. */
const THROTTLED_BASE_DELAY_MS = 500;
const MAX_DELAY_MS = 20_000;

/** The delay before attempt `failures + 1`: exponential, with full jitter, so that many workers do not come back together. */
export function backoffMs(failures: number, isThrottled: boolean, random: () => number): number {
  const base = isThrottled ? THROTTLED_BASE_DELAY_MS : BASE_DELAY_MS;
  return Math.round(random() * Math.min(MAX_DELAY_MS, base * 2 ** (failures - 1)));
}

export interface RetryDeps {
  sleep: (ms: number) => Promise<void>;
  random: () => number;
  now: () => number;
}

/**
 * The SDK decides what may pass (5xx, throttling, time-outs, resets); this decides how often and when. Not the SDK's standard
 * strategy: that one stops retrying for the whole client once a bucket of 500 tokens is spent at 14 a retry, so a store that
 * answers 503 to three requests in ten is soon not asked twice.
 */
export function retryStrategy(maxAttempts: number, { sleep, random, now }: RetryDeps): S3ClientConfig['retryStrategy'] {
  const tokenOf = (failures: number) => ({ getRetryCount: () => failures, getRetryDelay: () => 0, getRetryCost: () => 0 });
  return {
    acquireInitialRetryToken: async () => tokenOf(0),
    refreshRetryTokenForRetry: async (token, { errorType, retryAfterHint }) => {
      const failures = token.getRetryCount() + 1;
      const mayPass = errorType === 'TRANSIENT' || errorType === 'THROTTLING';
      if (!mayPass || failures >= maxAttempts) throw new Error('not to be retried');
      const askedForMs = retryAfterHint ? Math.min(retryAfterHint.getTime() - now(), MAX_DELAY_MS) : 0;
      await sleep(Math.max(askedForMs, backoffMs(failures, errorType === 'THROTTLING', random)));
      return tokenOf(failures);
    },
    recordSuccess: () => undefined,
  };
}
