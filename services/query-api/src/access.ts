import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isSecret, SCOPES } from '@sightline/shared/contracts/api-key';
import { DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import type { Scope } from '@sightline/shared/ports/ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { KeyRing } from './core/key-ring.ts';
import { isLoopbackHost } from './host-guard.ts';
import type { Budget, RateLimits } from './rate-limits.ts';

/** Who asks: a key's holder, or anybody on this machine where no keys are in use. */
export interface Caller {
  tenant: string;
  scopes: readonly Scope[];
  /** Null without keys. */
  keyId: string | null;
  /** Whether the caller may go on, for answers that take long. */
  isStillAllowed: () => Promise<boolean>;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What a caller needs; `public` tells nothing of any tenant. Every route says it, or the server does not start. */
    access?: Scope | 'public';
    /** Which rate limit the route counts against; `read` where it is not said. */
    budget?: Budget;
  }
  interface FastifyRequest {
    caller: Caller | null;
  }
}

export type AuthMode = 'none' | 'keys';

/**
 * Without keys only the loopback interface is served; a server that answers further hosts is asked by others than this machine's
 * user, so there keys are the default. Error: `config_invalid` for no keys on an address that others reach.
 */
export function authModeOf(config: { auth?: AuthMode | undefined; host: string; allowedHosts: string[] }): AuthMode {
  const isLocal = isLoopbackHost(config.host);
  if (config.auth === 'none' && !isLocal)
    throw new SightlineError('config_invalid', `AUTH=none is for the loopback interface only, and HOST is ${config.host}.`);
  return config.auth ?? (isLocal && config.allowedHosts.length === 0 ? 'none' : 'keys');
}

/** The one whom a request is from. Its tenant goes into every question to a store. */
export function callerOf(request: FastifyRequest): Caller {
  if (!request.caller) throw new SightlineError('internal', 'A route that is public asked for its caller.');
  return request.caller;
}

export function tenantOf(request: FastifyRequest): string {
  return callerOf(request).tenant;
}

/** Lets in who may: without keys everybody (who passed the host guard), else holders of a key with the route's scope. */
export function guardAccess(
  app: FastifyInstance,
  door: { mode: 'none' } | { mode: 'keys'; ring: KeyRing; limits: RateLimits },
): void {
  app.decorateRequest('caller', null);
  app.addHook('onRoute', ({ method, url, config }) => {
    if (!config?.access) throw new Error(`${String(method)} ${url}: config.access is missing`);
  });
  if (door.mode === 'none') {
    const anybody: Caller = { tenant: DEFAULT_TENANT, scopes: SCOPES, keyId: null, isStillAllowed: async () => true };
    app.addHook('onRequest', async (request) => {
      request.caller = anybody;
    });
    return;
  }
  const { ring, limits } = door;
  app.addHook('onRequest', async (request, reply) => {
    const { access = 'public', budget = 'read' } = request.routeOptions.config;
    // Probes come from one address, and often.
    if (request.routeOptions.url === '/healthz') return;
    if (access === 'public') return limits.take('public', request, reply);
    request.caller = await authenticate(ring, limits, request, reply);
    await limits.take(budget, request, reply);
    const { scopes } = request.caller;
    if (scopes.includes(access) || scopes.includes('admin')) return;
    void reply.header('www-authenticate', `Bearer realm="sightline", error="insufficient_scope", scope="${access}"`);
    throw new SightlineError('scope_missing', access);
  });
}

/** Unknown, revoked and past its time are one answer: nobody learns whether a key is there. */
async function authenticate(ring: KeyRing, limits: RateLimits, request: FastifyRequest, reply: FastifyReply): Promise<Caller> {
  const { authorization } = request.headers;
  const [, secret] = /^Bearer +(\S+) *$/i.exec(authorization ?? '') ?? [];
  const isNew = secret === undefined || !ring.knows(secret);
  // Who guesses does not reach the ledger for long; who holds a key is not kept out by a guesser at the same address.
  if (isNew) await limits.assertLeft('refused', request, reply);
  const key = secret !== undefined && isSecret(secret) ? await ring.find(secret) : null;
  if (key && secret !== undefined)
    return { tenant: key.tenant, scopes: key.scopes, keyId: key.keyId, isStillAllowed: () => ring.isStill(secret) };
  await limits.take('refused', request, reply);
  const isMissing = authorization === undefined;
  void reply.header('www-authenticate', `Bearer realm="sightline"${isMissing ? '' : ', error="invalid_token"'}`);
  throw new SightlineError(isMissing ? 'api_key_missing' : 'api_key_invalid');
}
