import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { problem } from '@sightline/shared/contracts/http';
import { questionImageParams, questionImageQuery } from '@sightline/shared/contracts/question-http';
import { tenantOf } from '../access.ts';
import type { QuestionPictures } from '../core/question-pictures.ts';

/** A picture can be removed, or change: an answer must say so before long. */
const MAX_AGE_SECONDS = 300;

export function questionImageRoutes(app: FastifyInstance, { pictures }: { pictures: QuestionPictures }): void {
  app.withTypeProvider<ZodTypeProvider>().get(
    '/v1/questions/:question_id/images/:n',
    {
      config: { access: 'ask' },
      schema: {
        summary: "An answer's picture with its boxes and labels drawn, upright, as PNG",
        description:
          'At most `width` pixels wide and high; small pictures are enlarged until labels can be read. 409 when the picture is not any more the one that the answer was made from.',
        tags: ['questions'],
        params: questionImageParams,
        querystring: questionImageQuery,
        produces: ['image/png'],
        response: { 200: z.any().meta({ description: 'image/png' }), default: problem },
      },
    },
    async (request, reply) => {
      const { question_id: questionId, n } = request.params;
      const { tag, read } = await pictures.find(tenantOf(request), questionId, { n, maxPx: request.query.width });
      const headers = {
        etag: `"${tag}"`,
        'cache-control': `private, max-age=${MAX_AGE_SECONDS}`,
        'content-security-policy': "default-src 'none'; sandbox",
      };
      if (request.headers['if-none-match'] === headers.etag) return reply.headers(headers).code(304).send();
      const png = await read();
      return reply.headers(headers).header('content-type', 'image/png').serializer(asItIs).send(png);
    },
  );
}

/** Bytes are no JSON: the schema's serializer is passed by. */
function asItIs(payload: unknown): string {
  return payload as string;
}
