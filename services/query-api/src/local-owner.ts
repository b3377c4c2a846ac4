import type { FastifyRequest } from 'fastify';
import { callerOf, type Caller } from './access.ts';
import { isLoopbackAddress } from './host-guard.ts';

/** Whether a request may name files of this machine, where that is allowed at all. */
export function isLocalOwner(request: FastifyRequest): boolean {
  return isOwner(callerOf(request)) && isFromHere(request);
}

/** The server's own files are for who runs it: where keys are in use, an administrator's. */
function isOwner({ keyId, scopes }: Caller): boolean {
  return keyId === null || scopes.includes('admin');
}

/** Over the loopback interface, and not for somebody else: a proxy on this machine comes from here too. */
function isFromHere({ socket, headers }: FastifyRequest): boolean {
  const isForwarded = headers['x-forwarded-for'] !== undefined || headers['forwarded'] !== undefined;
  return isLoopbackAddress(socket.remoteAddress) && !isForwarded;
}
