import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import {
  feedbackList,
  feedbackListQuery,
  feedbackRequest,
  feedbackView as feedbackViewSchema,
} from '@sightline/shared/contracts/feedback-http';
import { problem } from '@sightline/shared/contracts/http';
import { questionImageParams, questionParams } from '@sightline/shared/contracts/question-http';
import type { FeedbackLedger, ReviewedQuestion } from '@sightline/shared/ports/feedback-ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { callerOf, tenantOf } from '../access.ts';
import { feedbackView, reviewedView, reviewOf } from '../core/feedback.ts';
import type { QuestionPictures } from '../core/question-pictures.ts';

export interface FeedbackRouteDeps {
  ledger: FeedbackLedger;
  pictures: QuestionPictures;
  /** Unix milliseconds. */
  now: () => number;
}

const TAGS = ['feedback'];
/** All that a review may hold, with every character of it escaped (`\u4e3b`). */
const REVIEW_BODY_BYTES = 256 * 1024;
/** Where no keys are in use. */
const ANYBODY = 'local';

/** Reviews of answers, and what an export makes training data of. */
export function feedbackRoutes(app: FastifyInstance, { ledger, pictures, now }: FeedbackRouteDeps): void {
  const routes = app.withTypeProvider<ZodTypeProvider>();

  routes.post(
    '/v1/questions/:question_id/feedback',
    {
      config: { access: 'ask' },
      bodyLimit: REVIEW_BODY_BYTES,
      schema: {
        summary: 'Say whether an answer is right, or what it should have been',
        description:
          "Takes the place of the same reviewer's former review; the same once more changes nothing. A question that is not answered is 409 `question_state`.",
        tags: TAGS,
        params: questionParams,
        body: feedbackRequest,
        response: { 200: feedbackViewSchema, default: problem },
      },
    },
    async (request) => {
      const [tenant, id] = [tenantOf(request), request.params.question_id];
      const reviewed = await known(ledger, tenant, id);
      if (reviewed.question.status !== 'answered')
        throw new SightlineError('question_state', `It is ${reviewed.question.status}.`);
      const by = { reviewer: callerOf(request).keyId ?? ANYBODY, at: now() };
      const reviews = await ledger.putReview(tenant, id, reviewOf(reviewed, request.body, by));
      if (!reviews) throw new SightlineError('question_not_found');
      return feedbackView({ ...reviewed, reviews });
    },
  );

  routes.get(
    '/v1/questions/:question_id/feedback',
    {
      config: { access: 'ask' },
      schema: {
        summary: 'What reviewers say of an answer, and what a correction can cite',
        tags: TAGS,
        params: questionParams,
        response: { 200: feedbackViewSchema, default: problem },
      },
    },
    async (request) => feedbackView(await known(ledger, tenantOf(request), request.params.question_id)),
  );

  routes.get(
    '/v1/feedback',
    {
      config: { access: 'ask' },
      schema: {
        summary: 'Reviewed questions with their prompts, oldest review first: what `npm run export` reads',
        description: 'One that is reviewed again while the list is read comes again, later.',
        tags: TAGS,
        querystring: feedbackListQuery,
        response: { 200: feedbackList, default: problem },
      },
    },
    async (request) => {
      const { since, limit, cursor } = request.query;
      const options = { limit, ...(since && { since: Date.parse(since) }), ...(cursor && { after: cursor }) };
      const { reviewed, nextCursor, total } = await ledger.listReviewed(tenantOf(request), options);
      return { reviewed: reviewed.map(reviewedView), next_cursor: nextCursor, total };
    },
  );

  routes.get(
    '/v1/questions/:question_id/prompt/pictures/:n',
    {
      config: { access: 'ask' },
      schema: {
        summary: "A picture of an answer's prompt, byte for byte as it is stored",
        description: '409 when the picture is not any more the one that the model was shown.',
        tags: TAGS,
        params: questionImageParams,
        produces: ['application/octet-stream'],
        response: { 200: z.any().meta({ description: 'application/octet-stream' }), default: problem },
      },
    },
    async (request, reply) => {
      const { question_id: questionId, n } = request.params;
      const bytes = await pictures.shown(tenantOf(request), await known(ledger, tenantOf(request), questionId), n);
      // A stranger's file: no browser is to make anything of it.
      const headers = {
        'content-type': 'application/octet-stream',
        'content-disposition': 'attachment',
        'content-security-policy': "default-src 'none'; sandbox",
      };
      return reply.headers(headers).serializer(asItIs).send(bytes);
    },
  );
}

async function known(ledger: FeedbackLedger, tenant: string, questionId: string): Promise<ReviewedQuestion> {
  const reviewed = await ledger.getReviewed(tenant, questionId);
  if (!reviewed) throw new SightlineError('question_not_found');
  return reviewed;
}

/** Bytes are no JSON: the schema's serializer is passed by. */
function asItIs(payload: unknown): string {
  return payload as string;
}
