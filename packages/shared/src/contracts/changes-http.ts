import { z } from 'zod';
import { ERRORS } from '../runtime/errors.ts';

/** What HTTP says of changes that were told of and that the index does not show yet, and of those that failed. */

const errorCode = z.enum(Object.keys(ERRORS) as [keyof typeof ERRORS]);

export const changesView = z
  .strictObject({
    owed: z.int().describe('Changes that were told of and that the index does not show yet.'),
    oldest_seconds: z.number().nullable().describe('How long the oldest of them has been known of; null when none is owed.'),
  })
  .meta({ id: 'Changes' });
export type ChangesView = z.infer<typeof changesView>;

export const changeFailuresQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  cursor: z
    .string()
    .regex(/^\d{1,15}$/)
    .optional(),
});

const failed = {
  code: errorCode,
  reason: z.string(),
  failed_at: z.iso.datetime(),
};
export const changeFailurePage = z
  .strictObject({
    failures: z.array(
      z.discriminatedUnion('kind', [
        z.strictObject({ kind: z.literal('object'), bucket: z.string(), key: z.string(), ...failed }),
        z.strictObject({ kind: z.literal('item'), item_id: z.string(), ...failed }),
      ]),
    ),
    next_cursor: z.string().nullable(),
  })
  .meta({ id: 'ChangeFailurePage' });
export type ChangeFailurePage = z.infer<typeof changeFailurePage>;

export const changesRetried = z
  .strictObject({ retried: z.int().describe('How many failed changes are owed again.') })
  .meta({ id: 'ChangesRetried' });
