import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { Counter, type Registry } from 'prom-client';
import { z } from 'zod';
import { problem } from '@sightline/shared/contracts/http';
import { newId } from '@sightline/shared/contracts/ids';
import {
  questionAccepted,
  questionHeaders,
  questionList,
  questionListQuery,
  questionParams,
  questionRequest,
  questionView as questionViewSchema,
} from '@sightline/shared/contracts/question-http';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { Question } from '@sightline/shared/ports/question-ledger';
import { SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import { callerOf, tenantOf } from '../access.ts';
import { askQuestion, retryAfterSeconds, type AskQuestionDeps } from '../core/ask-question.ts';
import { resumeAfter } from '../core/question-resume.ts';
import { linksOf, questionView } from '../core/question-view.ts';
import type { QuestionStreams } from '../question-streams.ts';

export interface QuestionRouteDeps extends AskQuestionDeps {
  ledger: Ledger;
  streams: QuestionStreams;
  registry: Registry;
  /** A base64 picture and the rest of a request. */
  bodyLimitBytes: number;
}

const TAGS = ['questions'];

/** Questions: asked, read, listened to, cancelled. */
export function questionRoutes(app: FastifyInstance, deps: QuestionRouteDeps): void {
  const routes = app.withTypeProvider<ZodTypeProvider>();
  const asked = new Counter({
    name: 'sightline_questions_asked_total',
    help: 'Questions that were sent: accepted, replayed (the same one again), or the code of what was wrong with them.',
    labelNames: ['outcome'],
    registers: [deps.registry],
  });

  routes.post(
    '/v1/questions',
    {
      config: { access: 'ask', budget: 'ask' },
      bodyLimit: deps.bodyLimitBytes,
      schema: {
        summary: 'Ask a question: by words, by picture, or both',
        description:
          'The answer is written later; `links` say where. With an `Idempotency-Key` the same question that is sent again within 24 hours is asked once.',
        tags: TAGS,
        headers: questionHeaders,
        body: questionRequest,
        response: { 202: questionAccepted, default: problem },
      },
    },
    async (request, reply) => {
      // Nobody waits for the answer of a connection that is gone: a picture is not fetched on.
      const gone = new AbortController();
      reply.raw.once('close', () => gone.abort(new SightlineError('request_invalid', 'The connection was closed.')));
      const asker = {
        tenant: tenantOf(request),
        traceId: request.id,
        idempotencyKey: request.headers['idempotency-key'],
        signal: gone.signal,
      };
      const { question, isNew } = await askQuestion(deps, request.body, asker).catch(async (error: unknown) => {
        const { code } = toSightlineError(error);
        asked.inc({ outcome: code });
        if (code === 'question_backlog_full') void reply.header('retry-after', await retryAfterSeconds(deps));
        throw error;
      });
      asked.inc({ outcome: isNew ? 'accepted' : 'replayed' });
      const { questionId, status } = question;
      const links = linksOf(questionId);
      if (!isNew) void reply.header('idempotent-replayed', 'true');
      return reply.code(202).header('location', links.self).send({ question_id: questionId, status, links });
    },
  );

  routes.get(
    '/v1/questions',
    {
      config: { access: 'ask' },
      schema: {
        summary: 'Questions, newest first',
        tags: TAGS,
        querystring: questionListQuery,
        response: { 200: questionList, default: problem },
      },
    },
    async (request) => {
      const { status, limit, cursor } = request.query;
      const options = { limit, ...(status && { status }), ...(cursor && { after: cursor }) };
      const { questions, nextCursor } = await deps.ledger.listQuestions(tenantOf(request), options);
      return { questions: questions.map(questionView), next_cursor: nextCursor };
    },
  );

  routes.get(
    '/v1/questions/:question_id',
    {
      config: { access: 'ask' },
      schema: {
        summary: 'One question, and its answer once there is one',
        tags: TAGS,
        params: questionParams,
        response: { 200: questionViewSchema, default: problem },
      },
    },
    async (request) => questionView(await known(deps.ledger, request)),
  );

  routes.delete(
    '/v1/questions/:question_id',
    {
      config: { access: 'ask' },
      schema: {
        summary: 'Cancel a question, also while it is being answered',
        description: 'It stays readable. One that is answered or failed already is `question_state`.',
        tags: TAGS,
        params: questionParams,
        response: { 200: questionViewSchema, default: problem },
      },
    },
    async (request) => {
      const end = { eventId: newId(), at: deps.now() };
      const status = await deps.ledger.cancelQuestion(tenantOf(request), request.params.question_id, end);
      if (status !== null && status !== 'cancelled') throw new SightlineError('question_state', `It is ${status}.`);
      return questionView(await known(deps.ledger, request));
    },
  );

  routes.get(
    '/v1/questions/:question_id/events',
    {
      config: { access: 'ask' },
      schema: {
        summary: 'An answer as it is made, as server-sent events',
        description:
          'Event `retrieved` begins an attempt and makes void what was told before it; `tokens` has the text as the model writes it, `citations` what it rests on; `done` has the question as it ended, then the stream ends. `Last-Event-ID` goes on after that event; after `done` the answer is 204.',
        tags: TAGS,
        params: questionParams,
        produces: ['text/event-stream'],
        response: { 200: z.string().meta({ description: 'text/event-stream' }), 204: z.null(), default: problem },
      },
    },
    async (request, reply) => {
      const question = await known(deps.ledger, request);
      const { 'last-event-id': lastEventId } = request.headers;
      const after = await resumeAfter(deps.ledger, question, typeof lastEventId === 'string' ? lastEventId : undefined);
      if (after === null) return reply.code(204).send(null);
      deps.streams.open(question, reply, { after, isStillAllowed: callerOf(request).isStillAllowed });
      return reply;
    },
  );
}

/** The caller's own; another tenant's is as unknown as one that never was. */
async function known(ledger: Ledger, request: FastifyRequest<{ Params: z.infer<typeof questionParams> }>): Promise<Question> {
  const question = await ledger.getQuestion(tenantOf(request), request.params.question_id);
  if (!question) throw new SightlineError('question_not_found');
  return question;
}
