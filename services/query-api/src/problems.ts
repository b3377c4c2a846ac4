import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';
import type { Problem } from '@sightline/shared/contracts/http';
import { newId } from '@sightline/shared/contracts/ids';
import { ERRORS, SightlineError, type ErrorCode } from '@sightline/shared/runtime/errors';

const RETRY_AFTER_SECONDS = 1;

/** What a thrown value is to a client: RFC 9457 problem details, its code from the error table. Bad requests name their fields. */
export function problemOf(error: unknown, traceId: string): Problem {
  if (hasZodFastifySchemaValidationErrors(error)) {
    const errors = error.validation.map(({ instancePath, message, params }) => ({
      field: fieldOf(error.validationContext, instancePath, params),
      message: message ?? 'invalid',
    }));
    return {
      ...problemFor('request_invalid', traceId, errors.map(({ field, message }) => `${field}: ${message}`).join('; ')),
      errors,
    };
  }
  if (error instanceof SightlineError) {
    // What only an operator can act on, such as a path or a statement, is not told to strangers.
    return problemFor(error.code, traceId, ERRORS[error.code].httpStatus === 500 ? undefined : error.detail);
  }
  const { code, statusCode = 500, message } = error as Partial<FastifyError>;
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return problemFor('request_too_large', traceId);
  // Fastify's own refusals: malformed JSON, an unknown media type, a bad URL.
  if (statusCode >= 400 && statusCode < 500) return problemFor('request_invalid', traceId, message);
  return problemFor('internal', traceId);
}

export function problemFor(code: ErrorCode, traceId: string, detail?: string): Problem {
  const { message, httpStatus } = ERRORS[code];
  return {
    type: `urn:sightline:error:${code}`,
    title: message,
    status: httpStatus,
    code,
    ...(detail ? { detail } : {}),
    trace_id: traceId,
  };
}

export function sendProblem(request: FastifyRequest, reply: FastifyReply, error: unknown): FastifyReply {
  const answer = problemOf(error, request.id);
  if (answer.status >= 500 && answer.code === 'internal') request.log.error({ err: error }, 'request failed');
  else request.log.info({ code: answer.code, detail: answer.detail }, 'request refused');
  if (answer.code === 'overloaded' || answer.code === 'asset_busy') void reply.header('retry-after', RETRY_AFTER_SECONDS);
  // Serialised here: whatever the route's schemas say of its good answers, a problem must always get out.
  return reply
    .code(answer.status)
    .headers({ 'content-type': 'application/problem+json', 'x-trace-id': request.id })
    .serializer(JSON.stringify)
    .send(answer);
}

/** What is not HTTP never becomes a request: its problem is written to the connection, which then ends. */
export function refuseMalformed(error: { code?: string }, socket: Socket): void {
  // Reset by the other side, or ended already: there is nobody to tell.
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const code = error.code === 'HPE_HEADER_OVERFLOW' ? 'request_too_large' : 'request_invalid';
  const answer = problemFor(code, newId(), 'It is not well-formed HTTP, or its head is too large.');
  const body = JSON.stringify(answer);
  socket.end(
    [
      `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ''}`,
      'content-type: application/problem+json',
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
      '',
      body,
    ].join('\r\n'),
  );
}

function fieldOf(context: string | undefined, path: string, params: unknown): string {
  const inside = path.split('/').filter((part) => part !== '');
  const unknown =
    typeof params === 'object' && params !== null && 'keys' in params && Array.isArray(params.keys)
      ? params.keys.map(String)
      : [];
  const field = [...inside, ...unknown.slice(0, 1)].join('.');
  return field || (context ?? 'request');
}
