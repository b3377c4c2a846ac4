import { MAX_WEBHOOK_BODY_BYTES } from '@sightline/shared/contracts/webhooks';
import type { TakenDelivery } from '@sightline/shared/ports/webhook-ledger';
import { z } from 'zod';

/** What a body keeps that would be too large: which thing it is of, and how that stands. */
const KEPT = ['question_id', 'ingestion_id', 'asset_id', 'status', 'because'] as const;

const storedData = z.record(z.string(), z.unknown());

/**
 * The body of a delivery, the same each time it is sent: what is signed and compared by receivers must not depend on the attempt. Above
 * `MAX_WEBHOOK_BODY_BYTES` it carries ids, status and as much of the answer's text as fits, and says so by `truncated`.
 */
export function webhookBody(
  { type, at, data }: Pick<TakenDelivery['message'], 'type' | 'at' | 'data'>,
  sequence: number,
): string {
  const whole = storedData.parse(JSON.parse(data));
  const bodyOf = (content: Record<string, unknown>): string =>
    JSON.stringify({ type, timestamp: new Date(at).toISOString(), data: { ...content, sequence } });
  const body = bodyOf(whole);
  if (fits(body)) return body;
  const kept: Record<string, unknown> = Object.fromEntries(
    KEPT.filter((name) => name in whole).map((name) => [name, whole[name]]),
  );
  const { answer } = whole;
  if (typeof answer !== 'string') return bodyOf({ ...kept, truncated: true });
  return longest(answer, (text) => bodyOf({ ...kept, answer: text, truncated: true }));
}

/** The body with the longest beginning of `text` that fits: what a character costs depends on how JSON escapes it. */
function longest(text: string, bodyOf: (text: string) => string): string {
  let [fitting, tooLong] = [0, text.length + 1];
  while (tooLong - fitting > 1) {
    const middle = Math.floor((fitting + tooLong) / 2);
    if (fits(bodyOf(beginning(text, middle)))) fitting = middle;
    else tooLong = middle;
  }
  return bodyOf(beginning(text, fitting));
}

/** At most `chars` UTF-16 units, not ending in half a character. */
function beginning(text: string, chars: number): string {
  const last = text.charCodeAt(chars - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? chars - 1 : chars);
}

function fits(body: string): boolean {
  return Buffer.byteLength(body) <= MAX_WEBHOOK_BODY_BYTES;
}
