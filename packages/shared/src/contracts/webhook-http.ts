import { z } from 'zod';
import { storableText } from './records.ts';
import { webhookEventType } from './webhooks.ts';

/** What HTTP says of webhooks and their deliveries. */

const time = z.iso.datetime();
const url = z.string().min(1).max(2_048);
const description = z.string().max(256).overwrite(storableText);
const events = z
  .array(webhookEventType)
  .min(1)
  .max(16)
  .transform((types) => [...new Set(types)]);

export const webhookRequest = z
  .strictObject({
    url: url.describe('An https address; redirects are not followed.'),
    events,
    description: description.default(''),
  })
  .meta({ id: 'WebhookRequest' });
export type WebhookRequest = z.input<typeof webhookRequest>;

export const webhookChange = z
  .strictObject({
    url: url.optional(),
    events: events.optional(),
    description: description.optional(),
    enabled: z.boolean().optional().describe('True also ends a disabling by failures, and sends what waited.'),
    rotate_secret: z.literal(true).optional().describe('Makes a new secret; the old one signs beside it for a day.'),
  })
  .meta({ id: 'WebhookChange' });
export type WebhookChange = z.input<typeof webhookChange>;

export const webhookParams = z.strictObject({ webhook_id: z.string().min(1).max(64) });
export const deliveryParams = z.strictObject({ webhook_id: z.string().min(1).max(64), delivery_id: z.string().min(1).max(128) });

export const webhookView = z
  .strictObject({
    webhook_id: z.string(),
    url: z.string(),
    events: z.array(webhookEventType),
    description: z.string(),
    enabled: z.boolean(),
    disabled_because: z
      .enum(['user', 'gone', 'failing'])
      .nullable()
      .describe('`gone`: it answered 410. `failing`: it never succeeded for days.'),
    failing_since: time.nullable(),
    secrets: z
      .array(z.strictObject({ hint: z.string().describe('Its last four characters.'), expires_at: time.nullable() }))
      .describe('Those that sign now, newest first.'),
    created_at: time,
    updated_at: time,
  })
  .meta({ id: 'Webhook' });
export type WebhookView = z.infer<typeof webhookView>;

export const webhookIssued = z
  .strictObject({ webhook: webhookView, secret: z.string().nullable().describe('Told this once; null where none was made.') })
  .meta({ id: 'WebhookIssued' });
export type WebhookIssued = z.infer<typeof webhookIssued>;
export const webhookList = z.strictObject({ webhooks: z.array(webhookView) }).meta({ id: 'WebhookList' });
export const webhookRemoved = z.strictObject({ webhook_id: z.string(), removed: z.literal(true) }).meta({ id: 'WebhookRemoved' });

const deliveryStatus = z.enum(['pending', 'delivered', 'failed', 'dropped']);
export const deliveryView = z
  .strictObject({
    delivery_id: z.string(),
    webhook_message_id: z.string().describe('The header webhook-id.'),
    type: webhookEventType,
    subject: z.string(),
    sequence: z.int(),
    status: deliveryStatus,
    created_at: time,
    next_attempt_at: time.nullable(),
    attempts: z.array(
      z.strictObject({
        at: time,
        duration_ms: z.number(),
        status: z.int().nullable().describe("The receiver's; null when it did not answer."),
        error: z.string().nullable(),
      }),
    ),
  })
  .meta({ id: 'Delivery' });
export type DeliveryView = z.infer<typeof deliveryView>;

export const deliveryListQuery = z.strictObject({
  status: deliveryStatus.optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  cursor: z.string().max(512).optional(),
});
export const deliveryList = z
  .strictObject({ deliveries: z.array(deliveryView), next_cursor: z.string().nullable() })
  .meta({ id: 'DeliveryList' });
export type DeliveryList = z.infer<typeof deliveryList>;

/** One delivery again, or all of a range. */
export const replayRequest = z
  .union([
    z.strictObject({ delivery_id: z.string().min(1).max(128) }),
    z.strictObject({
      since: time,
      until: time.optional(),
      statuses: z
        .array(z.enum(['delivered', 'failed']))
        .min(1)
        .max(2)
        .default(['failed']),
    }),
  ])
  .meta({ id: 'ReplayRequest' });
export const replayed = z
  .strictObject({
    replayed: z.int().describe('How many deliveries are due again.'),
    more: z.boolean().describe('There are more in the range: ask again.'),
  })
  .meta({ id: 'Replayed' });
