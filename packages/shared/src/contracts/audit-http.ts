import { z } from 'zod';
import { auditFinding, auditResult } from './audits.ts';

/** The part of the HTTP interface that is about audits; see http.ts. */

const LONGEST_GRACE_SECONDS = 3_600;
const time = z.iso.datetime();
const status = z.enum(['queued', 'running', 'completed', 'failed']);
const place = z.strictObject({ bucket: z.string().min(1).max(4_096), prefix: z.string().max(1_024).default('') });
const links = z.strictObject({ self: z.string(), findings: z.string() });

export const auditRequest = z
  .strictObject({
    repair: z.boolean().default(false).describe('Mend what differs.'),
    grace_seconds: z
      .int()
      .min(0)
      .max(LONGEST_GRACE_SECONDS)
      .default(60)
      .describe('What differs is looked at again so much later, and reported when it differs still.'),
    place: place
      .optional()
      .describe('Only pictures in it are compared, with the records on them. For a directory source the bucket is its path.'),
  })
  .nullish()
  .meta({ id: 'AuditRequest' });

export const auditAccepted = z.strictObject({ audit_id: z.string(), status, links }).meta({ id: 'AuditAccepted' });

export const auditView = z
  .strictObject({
    audit_id: z.string(),
    status,
    reason: z.string().nullable().describe('Why it failed.'),
    repair: z.boolean(),
    grace_seconds: z.number(),
    place: z.strictObject({ bucket: z.string(), prefix: z.string() }).nullable(),
    asked_by: z.enum(['request', 'schedule']),
    result: auditResult.nullable().describe('Once it is completed.'),
    created_at: time,
    finished_at: time.nullable(),
    links,
  })
  .meta({ id: 'Audit' });
export type AuditView = z.infer<typeof auditView>;

export const auditListQuery = z.strictObject({ limit: z.coerce.number().int().min(1).max(100).default(20) });
export const auditList = z.strictObject({ audits: z.array(auditView) }).meta({ id: 'AuditList' });
export const auditParams = z.strictObject({ audit_id: z.string().min(1).max(64) });
export const auditFindingsQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
  cursor: z
    .string()
    .regex(/^\d{1,15}$/, 'the cursor is not one of this list')
    .optional(),
});
export const auditFindingPage = z
  .strictObject({ findings: z.array(auditFinding), next_cursor: z.string().nullable() })
  .meta({ id: 'AuditFindingPage' });
