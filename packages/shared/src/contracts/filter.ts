import { z } from 'zod';
import { attributeName } from './records.ts';

const scalar = z.union([z.string().max(1024), z.number(), z.boolean()]);
const range = z
  .strictObject({ gt: z.number().optional(), gte: z.number().optional(), lt: z.number().optional(), lte: z.number().optional() })
  .refine((r) => Object.values(r).some((v) => v !== undefined), 'a range needs gt, gte, lt or lte');

/**
 * A search filter: every named field must match. A scalar is equality, a list is "any of", an object is a numeric range.
 * Fields are attribute names, and `item_id`. A multi-valued attribute matches when one of its values does; a point that
 * several records share matches when one record satisfies the whole filter.
 */
export const filter = z
  .record(attributeName, z.union([scalar, z.array(scalar).min(1).max(1000), range]))
  .refine((f) => Object.keys(f).length <= 32, 'at most 32 fields');
export type Filter = z.infer<typeof filter>;
export type FilterValue = Filter[string];
