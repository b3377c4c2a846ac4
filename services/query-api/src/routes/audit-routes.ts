import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import {
  auditAccepted,
  auditFindingPage,
  auditFindingsQuery,
  auditList,
  auditListQuery,
  auditParams,
  auditRequest,
  auditView,
  type AuditView,
} from '@sightline/shared/contracts/audit-http';
import { problem } from '@sightline/shared/contracts/http';
import type { Audit } from '@sightline/shared/ports/audit-ledger';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { tenantOf } from '../access.ts';
import { readFindings } from '../core/audit-findings.ts';
import { startAudit, type StartAuditDeps } from '../core/start-audit.ts';

export interface AuditRouteDeps extends StartAuditDeps {
  ledger: Ledger;
  store: ObjectStore;
}

const TAGS = ['audits'];

/** Comparisons of a tenant's sources with its index. */
export function auditRoutes(app: FastifyInstance, deps: AuditRouteDeps): void {
  const routes = app.withTypeProvider<ZodTypeProvider>();

  routes.post(
    '/v1/audits',
    {
      config: { access: 'ingest', budget: 'ingest' },
      schema: {
        summary: 'Compare the sources with the index, point by point',
        description:
          'Every source that was ingested is listed, every point is read. What differs is looked at again after the grace; `repair` mends what differs still.',
        tags: TAGS,
        body: auditRequest,
        response: { 202: auditAccepted, default: problem },
      },
    },
    async (request, reply) => {
      const { repair = false, grace_seconds: graceSeconds = 60, place = null } = request.body ?? {};
      const asked = { tenant: tenantOf(request), place, repair, graceMs: graceSeconds * 1_000, traceId: request.id };
      const { audit_id, status, links } = viewOf(await startAudit(deps, asked));
      return reply.code(202).header('location', links.self).send({ audit_id, status, links });
    },
  );

  routes.get(
    '/v1/audits',
    {
      config: { access: 'read' },
      schema: {
        summary: 'Audits, newest first',
        tags: TAGS,
        querystring: auditListQuery,
        response: { 200: auditList, default: problem },
      },
    },
    async (request) => ({ audits: (await deps.ledger.listAudits(tenantOf(request), request.query)).map(viewOf) }),
  );

  routes.get(
    '/v1/audits/:audit_id',
    {
      config: { access: 'read' },
      schema: {
        summary: 'One audit: what it counted, and the first of what differs',
        tags: TAGS,
        params: auditParams,
        response: { 200: auditView, default: problem },
      },
    },
    async (request) => viewOf(await known(deps.ledger, request)),
  );

  routes.get(
    '/v1/audits/:audit_id/findings',
    {
      config: { access: 'read' },
      schema: {
        summary: 'What differs, up to a million findings',
        description: 'Kept for 30 days.',
        tags: TAGS,
        params: auditParams,
        querystring: auditFindingsQuery,
        response: { 200: auditFindingPage, default: problem },
      },
    },
    async (request) => {
      const { findings, nextCursor } = await readFindings(deps.store, await known(deps.ledger, request), request.query);
      return { findings, next_cursor: nextCursor };
    },
  );
}

/** The caller's own; another tenant's is as unknown as one that never was. */
async function known(ledger: Ledger, request: FastifyRequest<{ Params: z.infer<typeof auditParams> }>): Promise<Audit> {
  const audit = await ledger.getAudit(tenantOf(request), request.params.audit_id);
  if (!audit) throw new SightlineError('audit_not_found');
  return audit;
}

function viewOf(audit: Audit): AuditView {
  const self = `/v1/audits/${audit.auditId}`;
  return {
    audit_id: audit.auditId,
    status: audit.status,
    reason: audit.reason,
    repair: audit.repair,
    grace_seconds: audit.graceMs / 1_000,
    place: audit.place,
    asked_by: audit.askedBy,
    result: audit.result,
    created_at: new Date(audit.createdAt).toISOString(),
    finished_at: audit.finishedAt === null ? null : new Date(audit.finishedAt).toISOString(),
    links: { self, findings: `${self}/findings` },
  };
}
