import { SightlineError } from '@sightline/shared/runtime/errors';
import { z } from 'zod';
import type { Generated } from '../core/generator.ts';
import { isRepeating } from '../core/repetition.ts';
import { StopText } from '../core/stop-text.ts';
import { ListenerFailed } from './model-server-gate.ts';
import { unlessAborted, type RequestDeadline } from './request-deadline.ts';

/** An answer that is longer is cut: no bound of tokens that a server honours lets one be. */
export const MOST_ANSWER_BYTES = 64 * 1024;
const LOOKED_FOR_REPETITION_EVERY = 64;

const usage = z.object({ prompt_tokens: z.number(), completion_tokens: z.number() });
const delta = z.object({
  content: z.string().nullish(),
  reasoning_content: z.string().nullish(),
  reasoning: z.string().nullish(),
});
const chunk = z.object({
  model: z.string().nullish(),
  choices: z.array(z.object({ delta: delta.nullish(), finish_reason: z.string().nullish() })),
  usage: usage.nullish(),
});

export interface AnswerOptions {
  model: string;
  stop: readonly string[];
  tokenTimeoutMs: number;
  onText: (text: string) => void | Promise<void>;
  onFirstToken: () => void;
}

type Stream = AsyncIterable<unknown> & { controller: AbortController };

/**
 * Reads a streamed answer to its end, and ends it here where it passes its bounds. Errors: `generator_malformed`, `generator_empty`,
 * `generator_refused`, the deadline's, the library's.
 */
export async function readAnswer(stream: Stream, deadline: RequestDeadline, options: AnswerOptions): Promise<Generated> {
  const answer = new Answer(options.stop);
  const iterator = stream[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await iterator.next();
      // The library ends an aborted stream as if it had ended by itself.
      deadline.signal.throwIfAborted();
      if (next.done) break;
      const said = answer.take(next.value);
      if (said.isProgress) {
        options.onFirstToken();
        deadline.expect('the next token', options.tokenTimeoutMs);
      }
      await tell(said.text, deadline, options);
      if (answer.isCut) break;
    }
  } catch (error) {
    // What is lost after the last token is the usage or the connection's end.
    if (!answer.isFinished || error instanceof ListenerFailed) throw error;
  } finally {
    stream.controller.abort();
  }
  const rest = answer.flush();
  await tell(rest, deadline, options);
  return answer.whole(options.model);
}

async function tell(text: string, deadline: RequestDeadline, { onText, tokenTimeoutMs }: AnswerOptions): Promise<void> {
  if (text === '') return;
  // The server is not waited for while the listener is.
  deadline.rest();
  try {
    await unlessAborted(Promise.resolve(onText(text)), deadline.signal);
  } catch (error) {
    throw new ListenerFailed(error);
  }
  deadline.expect('the next token', tokenTimeoutMs);
}

class Answer {
  readonly #stop: StopText;
  #text = '';
  #bytes = 0;
  #looked = 0;
  #pieces = 0;
  #finish: string | null = null;
  #cut: Generated['finishReason'] | null = null;
  #model: string | undefined;
  #usage: Generated['usage'] | undefined;

  constructor(stop: readonly string[]) {
    this.#stop = new StopText(stop);
  }

  /** The server said why it ended. */
  get isFinished(): boolean {
    return this.#finish !== null;
  }

  /** It is ended here. */
  get isCut(): boolean {
    return this.#cut !== null;
  }

  take(value: unknown): { text: string; isProgress: boolean } {
    const parsed = chunk.safeParse(value);
    if (!parsed.success) throw new SightlineError('generator_malformed', 'A piece of its stream has no choices.');
    const { data } = parsed;
    this.#model ??= data.model ?? undefined;
    if (data.usage) this.#usage = { promptTokens: data.usage.prompt_tokens, completionTokens: data.usage.completion_tokens };
    const [choice] = data.choices;
    const content = choice?.delta?.content ?? '';
    const thought = choice?.delta?.reasoning_content ?? choice?.delta?.reasoning ?? '';
    this.#finish ??= choice?.finish_reason ?? null;
    if (content !== '') this.#pieces++;
    return { text: this.#add(this.#stop.push(content)), isProgress: content !== '' || thought !== '' };
  }

  flush(): string {
    return this.#cut === null ? this.#add(this.#stop.flush()) : '';
  }

  whole(model: string): Generated {
    const finishReason = this.#cut ?? finishOf(this.#finish);
    if (this.#text.trim() === '') throw new SightlineError('generator_empty', `It ended with ${this.#finish ?? 'nothing'}.`);
    return {
      text: this.#text,
      finishReason,
      model: this.#model ?? model,
      // A server that does not count, or was stopped before it told: a piece is about a token.
      usage: this.#usage ?? { promptTokens: 0, completionTokens: this.#pieces },
    };
  }

  #add(text: string): string {
    const bytes = Buffer.byteLength(text);
    let kept = text;
    if (this.#stop.isStopped) this.#cut = 'stop';
    if (this.#bytes + bytes > MOST_ANSWER_BYTES) {
      // Whole characters only: a replacement character may stand for the one that was cut through.
      kept = Buffer.from(text)
        .subarray(0, MOST_ANSWER_BYTES - this.#bytes)
        .toString()
        .replace(/\uFFFD$/, '');
      this.#cut = 'length';
    }
    this.#bytes += bytes;
    this.#text += kept;
    if (this.#cut === null && this.#text.length - this.#looked >= LOOKED_FOR_REPETITION_EVERY) {
      this.#looked = this.#text.length;
      if (isRepeating(this.#text)) this.#cut = 'repeating';
    }
    return kept;
  }
}

function finishOf(reason: string | null): Generated['finishReason'] {
  if (reason === null) throw new SightlineError('generator_malformed', 'Its stream ended before the answer did.');
  if (reason === 'length' || reason === 'stop') return reason;
  if (reason === 'repetition') return 'repeating';
  if (reason === 'content_filter') throw new SightlineError('generator_refused', 'Its content filter ended the answer.');
  // vLLM's word for a request that it gave up itself.
  if (reason === 'abort' || reason === 'error') throw new SightlineError('generator_malformed', `It ended with ${reason}.`);
  return 'stop';
}
