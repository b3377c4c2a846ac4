import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { problem } from '@sightline/shared/contracts/http';
import {
  migrationList,
  migrationParams,
  migrationRequest,
  migrationResume,
  migrationView,
} from '@sightline/shared/contracts/migration-http';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { callerOf } from '../access.ts';
import {
  actOnMigration,
  knownMigration,
  listMigrations,
  resumeMigration,
  startMigration,
  viewMigration,
  type MigrationAction,
  type MigrationsDeps,
} from '../core/migrations.ts';

const TAGS = ['migrations'];
const BODY_LIMIT_BYTES = 2 * 1024 * 1024;

const SUMMARIES: Record<MigrationAction, string> = {
  pause: 'Pause the filling of the new version; it stays in step with nothing meanwhile, and catches up',
  'cut-over': 'Let the new version serve',
  'roll-back': 'Let the old version serve again, with what was written since',
  finish: 'Give the old version up: no way back from here',
  cancel: 'Give the new version up, before it serves',
};

/**
 * Migrations of the index to another encoder. They are the whole stack's and no tenant's: where keys are asked for, it takes an admin
 * key of the tenant that operates the stack.
 */
export function migrationRoutes(app: FastifyInstance, deps: MigrationsDeps & { operatorTenant: string }): void {
  const routes = app.withTypeProvider<ZodTypeProvider>();
  const operator = (request: FastifyRequest): string => {
    const { tenant } = callerOf(request);
    if (tenant === deps.operatorTenant) return tenant;
    throw new SightlineError(
      'scope_missing',
      'Migrations are of the whole stack: they take an admin key of the tenant that operates it.',
    );
  };

  routes.post(
    '/v1/migrations',
    {
      config: { access: 'admin', budget: 'ingest' },
      bodyLimit: BODY_LIMIT_BYTES,
      schema: {
        summary: 'Migrate the index to another encoder pack',
        description: 'A preview on a sample, then a second version of the index is filled beside the one that serves.',
        tags: TAGS,
        body: migrationRequest,
        response: { 202: migrationView, default: problem },
      },
    },
    async (request, reply) => {
      const migration = await startMigration(deps, request.body, operator(request));
      return reply.code(202).send(await viewMigration(deps, migration));
    },
  );

  routes.get(
    '/v1/migrations',
    {
      config: { access: 'admin' },
      schema: { summary: 'Migrations, newest first', tags: TAGS, response: { 200: migrationList, default: problem } },
    },
    async (request) => {
      operator(request);
      const migrations = await listMigrations(deps);
      return { migrations: await Promise.all(migrations.map((migration) => viewMigration(deps, migration))) };
    },
  );

  routes.get(
    '/v1/migrations/:migration_id',
    {
      config: { access: 'admin' },
      schema: {
        summary: 'A migration: how far it is, its preview and its gate',
        tags: TAGS,
        params: migrationParams,
        response: { 200: migrationView, default: problem },
      },
    },
    async (request) => {
      operator(request);
      return viewMigration(deps, await knownMigration(deps, request.params.migration_id));
    },
  );

  routes.post(
    '/v1/migrations/:migration_id/resume',
    {
      config: { access: 'admin', budget: 'ingest' },
      schema: {
        summary: 'Let a migration go on from its preview, a pause or the gate',
        description: 'What failed is tried again. Bounds that are given take the place of those before.',
        tags: TAGS,
        params: migrationParams,
        body: migrationResume,
        response: { 202: migrationView, default: problem },
      },
    },
    async (request, reply) => {
      operator(request);
      const migration = await resumeMigration(deps, request.params.migration_id, request.body);
      return reply.code(202).send(await viewMigration(deps, migration));
    },
  );

  for (const action of ['pause', 'cut-over', 'roll-back', 'finish', 'cancel'] as const)
    routes.post(
      `/v1/migrations/:migration_id/${action}`,
      {
        config: { access: 'admin', budget: 'ingest' },
        schema: {
          summary: SUMMARIES[action],
          tags: TAGS,
          params: migrationParams,
          response: { 202: migrationView, default: problem },
        },
      },
      async (request, reply) => {
        operator(request);
        const migration = await actOnMigration(deps, request.params.migration_id, action);
        return reply.code(202).send(await viewMigration(deps, migration));
      },
    );
}
