import { z } from 'zod';

/** What webhooks can be told of. */
export const WEBHOOK_EVENTS = ['question.answered', 'question.failed', 'answer.stale', 'ingestion.completed'] as const;
export const webhookEventType = z.enum(WEBHOOK_EVENTS);
export type WebhookEventType = z.infer<typeof webhookEventType>;

/** The standard asks for bodies below this; what would be larger carries ids, status and as much of the answer's text as fits. */
export const MAX_WEBHOOK_BODY_BYTES = 20_000;

/** Milliseconds after which a delivery is tried again, by the standard's schedule: at once, then after each of these. */
export const DELIVERY_DELAYS_MS = [
  5_000,
  5 * 60_000,
  30 * 60_000,
  2 * 3_600_000,
  5 * 3_600_000,
  10 * 3_600_000,
  14 * 3_600_000,
  20 * 3_600_000,
  24 * 3_600_000,
] as const;

/** How long a rotated secret signs beside the new one. */
export const ROTATION_MS = 24 * 3_600_000;
