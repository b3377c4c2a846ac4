import type { ServerResponse } from 'node:http';
import type { Ended, NamedChance, SaidToken } from './llava.ts';

interface AnswerOptions {
  id: string;
  /** Seconds since 1970. */
  created: number;
  model: string;
  isStreamed: boolean;
  withUsage: boolean;
}

/** Writes one answer of the chat protocol, piece by piece or whole. */
export class ChatAnswer {
  readonly #response: ServerResponse;
  readonly #options: AnswerOptions;
  #text = '';
  readonly #logprobs: object[] = [];

  constructor(response: ServerResponse, options: AnswerOptions) {
    this.#response = response;
    this.#options = options;
  }

  say({ text, chances }: SaidToken): void {
    const logprobs = chances ? [{ ...chanceOf(chances.own), top_logprobs: chances.top.map(chanceOf) }] : [];
    if (this.#options.isStreamed) {
      if (text !== '' || logprobs.length > 0) this.#piece({ content: text }, null, logprobs);
      return;
    }
    this.#text += text;
    this.#logprobs.push(...logprobs);
  }

  end({ text, promptTokens, completionTokens }: Ended, finishReason: 'stop' | 'length'): void {
    const usage = {
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
      total_tokens: promptTokens + completionTokens,
    };
    if (!this.#options.isStreamed) {
      const message = { role: 'assistant', content: this.#text + text };
      const logprobs = this.#logprobs.length > 0 ? { content: this.#logprobs } : null;
      const choices = [{ index: 0, message, logprobs, finish_reason: finishReason }];
      const body = { ...this.#head('chat.completion'), choices, usage };
      this.#response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
      return;
    }
    if (text !== '') this.#piece({ content: text }, null, []);
    this.#piece({}, finishReason, []);
    if (this.#options.withUsage) this.#tell({ choices: [], usage });
    this.#response.end('data: [DONE]\n\n');
  }

  #piece(delta: { content?: string }, finishReason: string | null, logprobs: object[]): void {
    const role = this.#response.headersSent ? {} : { role: 'assistant' };
    const choice = { index: 0, delta: { ...role, ...delta }, finish_reason: finishReason };
    this.#tell({ choices: [logprobs.length > 0 ? { ...choice, logprobs: { content: logprobs } } : choice] });
  }

  #tell(rest: object): void {
    if (!this.#response.headersSent)
      this.#response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' });
    this.#response.write(`data: ${JSON.stringify({ ...this.#head('chat.completion.chunk'), ...rest })}\n\n`);
  }

  #head(object: string): object {
    const { id, created, model } = this.#options;
    return { id, object, created, model };
  }
}

function chanceOf({ token, logprob }: NamedChance): object {
  return { token, logprob, bytes: null };
}
