import type { Question } from '@sightline/shared/ports/question-ledger';
import { isOutage } from '@sightline/shared/ingestion/outages';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { AnswerDeps } from './answer-deps.ts';
import { AnswerTextStream } from './answer-text-stream.ts';
import { buildPrompt, requestOf, type BuiltPrompt } from './build-prompt.ts';
import type { Generated } from './generator.ts';
import { ANSWER_SCHEMA } from './grounding/answer-schema.ts';
import type { Retrieved } from './retrieve.ts';

/** Tries of one question whose answers came back broken, before it fails with the last one's code. */
const MOST_TRIES = 3;
const TRY_AGAIN_MS = 500;
/** What is left of the budget each time the server says that a prompt was too long. */
const SHRINK = 0.7;
const MOST_SHRINKS = 4;

export interface GeneratedAnswer {
  generated: Generated;
  prompt: BuiltPrompt;
  timingsMs: { prompt: number; firstToken: number | null; generate: number };
}

/**
 * Has the model answer. A prompt that turns out too long is built shorter; an answer that comes back broken is asked for again. `begin`
 * is called before each try, since what was streamed before is void. Errors: `question_too_long`, those of the generator.
 */
export async function generateAnswer(
  deps: AnswerDeps,
  question: Question,
  retrieved: Retrieved,
  options: { signal: AbortSignal; begin: () => Promise<{ onText: (text: string) => Promise<void>; end: () => Promise<void> }> },
): Promise<GeneratedAnswer> {
  const { generator } = deps;
  const { asked, tenant, questionId } = question;
  const answerTokens = asked.sampling.maxTokens ?? deps.answerTokens;
  let budget = generator.profile.contextTokens;
  let tries = 1;
  for (let shrinks = 0; ;) {
    const startedMs = deps.nowMs();
    const prompt = buildPrompt(
      deps.template,
      generator.profile,
      {
        question: asked.question,
        sources: retrieved.sources,
        questionPicture: retrieved.questionPicture,
        pictures: retrieved.pictures,
        maxImages: asked.maxImages,
        showSteps: asked.showSteps,
        language: asked.language,
        answerTokens,
        fence: `source-${questionId.replaceAll('-', '').slice(-12)}`,
      },
      budget,
    );
    if (!prompt) {
      const room = `It has ${Math.floor(budget)} tokens, of which the answer may take ${answerTokens}.`;
      throw new SightlineError('question_too_long', room);
    }
    const builtMs = deps.nowMs();
    const stream = await options.begin();
    let firstMs: number | null = null;
    const text = new AnswerTextStream();
    try {
      const request = requestOf(prompt, {
        sampling: asked.sampling,
        adapter: asked.adapter,
        schema: generator.profile.structured ? ANSWER_SCHEMA : null,
        cacheSalt: tenant,
      });
      const generated = await generator.generate(request, {
        signal: options.signal,
        onText: async (piece) => {
          firstMs ??= deps.nowMs();
          await stream.onText(text.add(piece));
        },
      });
      await stream.end();
      const timingsMs = {
        prompt: builtMs - startedMs,
        firstToken: firstMs === null ? null : firstMs - builtMs,
        generate: deps.nowMs() - builtMs,
      };
      return { generated, prompt, timingsMs };
    } catch (error) {
      if (!(error instanceof SightlineError)) throw error;
      if (error.code === 'generator_context_exceeded') {
        if (++shrinks > MOST_SHRINKS) throw new SightlineError('question_too_long', undefined, { cause: error });
        budget *= SHRINK;
        continue;
      }
      const mayPass = error.retryable && error.code !== 'generator_unavailable' && !isOutage(error.code);
      if (!mayPass || ++tries > MOST_TRIES) throw error;
      await deps.sleep(TRY_AGAIN_MS * tries, options.signal);
    }
  }
}
