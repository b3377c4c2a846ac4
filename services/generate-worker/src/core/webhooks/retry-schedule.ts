const LONGEST_RETRY_AFTER_MS = 24 * 3_600_000;
/** Of a delay, at random, so that what failed together does not come back together. */
const JITTER = 0.1;

export interface FailedAttempt {
  /** After each attempt that failed; with the last of them the schedule has run out. */
  delaysMs: readonly number[];
  /** Attempts so far, this one included. */
  tries: number;
  /** The receiver's answer; null where there was none. */
  answer: { status: number; retryAfter: string | undefined } | null;
  /** When it ended, in Unix milliseconds. */
  at: number;
}

/**
 * When a delivery that failed is due again, by its schedule; null once that has run out. A `Retry-After` of 429 and 503 is
 * honoured where it is later, up to a day. `random`: from 0 to 1.
 */
export function nextAttemptAt({ delaysMs, tries, answer, at }: FailedAttempt, random: () => number): number | null {
  const delayMs = delaysMs[tries - 1];
  if (delayMs === undefined) return null;
  const asked = answer && (answer.status === 429 || answer.status === 503) ? retryAfterMs(answer.retryAfter, at) : 0;
  // Only ever later: an attempt must not come before the schedule's, nor before what the receiver asked for.
  return at + Math.max(Math.round(delayMs * (1 + JITTER * random())), Math.min(asked, LONGEST_RETRY_AFTER_MS));
}

/** Of the header's two forms, seconds and a date; 0 for what is neither. */
function retryAfterMs(header: string | undefined, at: number): number {
  if (header === undefined) return 0;
  if (/^\d+$/.test(header.trim())) return Number(header) * 1_000;
  const until = Date.parse(header);
  return Number.isNaN(until) ? 0 : Math.max(0, until - at);
}
