import { auditFinding, type AuditFinding } from '@sightline/shared/contracts/audits';
import { auditFindingsKey, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import type { Audit } from '@sightline/shared/ports/audit-ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import { SightlineError } from '@sightline/shared/runtime/errors';

const NEWLINE = 0x0a;

/**
 * A page of what a completed audit found, from its stored lines; the cursor is where in them the page begins. Errors: `audit_state`,
 * `audit_findings_expired`, `request_invalid` for a cursor that is none.
 */
export async function readFindings(
  store: Pick<ObjectStore, 'head' | 'stream'>,
  { tenant, auditId, status, result }: Audit,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<{ findings: AuditFinding[]; nextCursor: string | null }> {
  if (!result) throw new SightlineError('audit_state', `It is ${status}: findings are there once it is completed.`);
  if (result.listed === 0) return { findings: [], nextCursor: null };
  const ref = { bucket: SYSTEM_BUCKET, key: auditFindingsKey(tenant, auditId) };
  const info = await store.head(ref);
  if (!info) throw new SightlineError('audit_findings_expired');
  const from = Number(cursor ?? 0);
  if (from >= info.sizeBytes) throw new SightlineError('request_invalid', 'cursor: it is not one of this list.');
  // A page begins behind a line's end, and nowhere else.
  const { body } = await store.stream(ref, { start: Math.max(0, from - 1) });
  const findings: AuditFinding[] = [];
  let at = from;
  for await (const line of linesOf(body, from > 0)) {
    if (findings.length === limit) return { findings, nextCursor: String(at) };
    findings.push(auditFinding.parse(JSON.parse(line.toString('utf8'))));
    at += line.length + 1;
  }
  return { findings, nextCursor: null };
}

/** Lines without their ends. `isMiddle`: the first byte is the end of the line before. */
async function* linesOf(body: AsyncIterable<Uint8Array>, isMiddle: boolean): AsyncGenerator<Buffer> {
  let rest = Buffer.alloc(0);
  let isFirst = isMiddle;
  for await (const bytes of body) {
    let chunk = Buffer.from(bytes);
    if (isFirst && chunk.length > 0) {
      if (chunk[0] !== NEWLINE) throw new SightlineError('request_invalid', 'cursor: it is not one of this list.');
      chunk = chunk.subarray(1);
      isFirst = false;
    }
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(NEWLINE); end !== -1; end = rest.indexOf(NEWLINE)) {
      yield rest.subarray(0, end);
      rest = rest.subarray(end + 1);
    }
  }
}
