import { setTimeout as sleep } from 'node:timers/promises';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { OpenAI } from 'openai';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { z } from 'zod';
import type { Generated, GenerateRequest, Generator, ModelProfile } from '../core/generator.ts';
import { yesAgainstNo } from '../core/yes-no.ts';
import { openGeneratorMetrics, type GeneratorMetrics } from '../generator-metrics.ts';
import { boundedFetch } from './bounded-fetch.ts';
import { readAnswer } from './chat-answer.ts';
import { answerBody, yesNoBody, type SamplingDefaults } from './chat-body.ts';
import { failureOf } from './generator-failure.ts';
import { ModelServerGate } from './model-server-gate.ts';
import { RequestDeadline, unlessAborted } from './request-deadline.ts';
import { ServedModels } from './served-models.ts';
import { ServerDialect, type Use } from './server-dialect.ts';
import { followLoad, metricsUrlBeside } from './vllm-load.ts';

export interface OpenAIGeneratorOptions {
  /** Of the protocol, with its `/v1` where the server has one. */
  baseUrl: string;
  apiKey?: string | undefined;
  profile: Omit<ModelProfile, 'structured' | 'logprobs'>;
  /** `auto`: used until the server refuses or ignores it once. */
  structured: Use;
  logprobs: Use;
  sampling: SamplingDefaults;
  /** The most requests with the server at once. */
  inFlight: number;
  firstTokenTimeoutMs: number;
  tokenTimeoutMs: number;
  timeoutMs: number;
  /** vLLM's metrics; by default beside the protocol's address. */
  metricsUrl?: string | undefined;
  /** How often they are read. */
  metricsEveryMs?: number;
  failuresToOpen?: number;
}

export interface OpenAIGeneratorDeps {
  logger: Logger;
  registry: Registry;
  fetch?: typeof globalThis.fetch;
  now?: () => number;
  random?: () => number;
}

const FAILURES_TO_OPEN = 5;
/** A refused or broken connection is tried again this often before any text was handed out. */
const MOST_RECONNECTS = 2;
const RECONNECT_MS = 100;

const yesNoAnswer = z.object({
  choices: z
    .array(
      z.object({
        logprobs: z
          .object({
            content: z
              .array(z.object({ top_logprobs: z.array(z.object({ token: z.string(), logprob: z.number() })).nullish() }))
              .nullish(),
          })
          .nullish(),
      }),
    )
    .min(1),
  usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number() }).nullish(),
});

/** A vision-language model behind any server of OpenAI's chat protocol: vLLM, `transformers serve`, the embedded one. */
export function openOpenAIGenerator(options: OpenAIGeneratorOptions, deps: OpenAIGeneratorDeps): Generator {
  return new OpenAIGenerator(options, deps);
}

class OpenAIGenerator implements Generator {
  readonly #options: OpenAIGeneratorOptions;
  readonly #client: OpenAI;
  readonly #dialect: ServerDialect;
  readonly #served: ServedModels;
  readonly #gate: ModelServerGate;
  readonly #load: ReturnType<typeof followLoad>;
  readonly #metrics: GeneratorMetrics;
  readonly #logger: Logger;
  readonly #random: () => number;

  constructor(options: OpenAIGeneratorOptions, deps: OpenAIGeneratorDeps) {
    const { fetch = globalThis.fetch, now = () => performance.now(), random = Math.random, logger } = deps;
    this.#options = options;
    this.#logger = logger;
    this.#random = random;
    this.#metrics = openGeneratorMetrics(deps.registry);
    this.#client = clientOf(options, boundedFetch(fetch));
    this.#dialect = new ServerDialect(options);
    this.#served = new ServedModels(this.#client, now);
    this.#gate = new ModelServerGate(
      {
        inFlight: options.inFlight,
        failuresToOpen: options.failuresToOpen ?? FAILURES_TO_OPEN,
        secret: options.apiKey,
        probe: () => this.#served.look(),
        onUp: () => {
          this.#dialect.forget();
          this.#load.again();
        },
      },
      { now, random, metrics: this.#metrics, logger },
    );
    this.#load = followLoad(
      {
        url: options.metricsUrl ?? metricsUrlBeside(options.baseUrl),
        isBusy: () => this.#gate.inFlight > 0,
        onLoad: (load) => this.#gate.observeLoad(load),
        everyMs: options.metricsEveryMs,
      },
      { fetch, logger },
    );
  }

  get profile(): ModelProfile {
    return { ...this.#options.profile, structured: this.#dialect.structured, logprobs: this.#dialect.logprobs };
  }

  async generate(
    request: GenerateRequest,
    { signal, onText }: { signal: AbortSignal; onText: (text: string) => void | Promise<void> },
  ): Promise<Generated> {
    return this.#gate.run('answer', signal, (signal, onFirstToken) =>
      this.#within(signal, async (deadline) => {
        const served = await this.#modelFor(request.adapter, deadline.signal);
        const sampling = { ...this.#options.sampling, ...request.sampling };
        let isHeld = false;
        let isHandedOut = false;
        let sent: object = {};
        const tell = (text: string) => {
          isHandedOut = true;
          return onText(text);
        };
        const { tokenTimeoutMs, firstTokenTimeoutMs } = this.#options;
        const read = { model: served.name, stop: sampling.stop, tokenTimeoutMs, onText: tell, onFirstToken };
        // Errors come inside the stream too, where a server answers before it looks.
        const value = await this.#patiently(
          deadline.signal,
          async () => {
            isHeld = request.schema !== null && this.#dialect.structured;
            deadline.expect('the first token', firstTokenTimeoutMs);
            const body = answerBody(request, served, sampling, this.#dialect);
            sent = body;
            const stream = await this.#client.chat.completions.create(body, { signal: deadline.signal });
            return readAnswer(stream, deadline, read);
          },
          () => (isHandedOut ? null : sent),
        );
        // A stop text of the asker's may have cut it.
        const isJudged = isHeld && value.finishReason === 'stop' && request.sampling.stop === undefined;
        if (isJudged && !isJson(value.text)) this.#dialect.ignoresSchemas();
        this.#metrics.countTokens(value.usage);
        return { value, outcome: value.finishReason };
      }),
    );
  }

  async yesNo(
    request: Pick<GenerateRequest, 'system' | 'content' | 'cacheSalt'>,
    { signal }: { signal: AbortSignal },
  ): Promise<number | null> {
    if (!this.#dialect.logprobs) return null;
    return this.#gate.run('yes_no', signal, (signal) =>
      this.#within(signal, async (deadline) => {
        const served = await this.#modelFor(null, deadline.signal);
        deadline.expect('yes or no', this.#options.firstTokenTimeoutMs);
        let sent: object = {};
        const answer = await this.#patiently(
          deadline.signal,
          async () => {
            if (!this.#dialect.logprobs) return null;
            const body = yesNoBody(request, served, this.#dialect);
            sent = body;
            return this.#client.chat.completions.create(body, { signal: deadline.signal });
          },
          () => sent,
        );
        if (answer === null) return { value: null, outcome: 'no_logprobs' };
        const parsed = yesNoAnswer.safeParse(answer);
        if (!parsed.success) throw new SightlineError('generator_malformed', 'Its answer has no choices.');
        const { choices, usage } = parsed.data;
        if (usage) this.#metrics.countTokens({ promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens });
        const places = choices[0]?.logprobs?.content?.flatMap(({ top_logprobs }) => (top_logprobs ? [top_logprobs] : [])) ?? [];
        if (places.length === 0) this.#dialect.ignoresLogprobs();
        return { value: yesAgainstNo(places), outcome: places.length === 0 ? 'no_logprobs' : 'stop' };
      }),
    );
  }

  limit(): number {
    return this.#gate.limit();
  }

  async ready(): Promise<void> {
    let ids: string[] | null;
    try {
      ({ ids } = await this.#served.look());
    } catch (thrown) {
      throw failureOf(thrown, this.#options.apiKey).error;
    }
    this.#gate.isThere();
    const { model } = this.#options.profile;
    if (ids && model !== null && !ids.includes(model))
      throw new SightlineError('generator_refused', `The model server does not serve "${model}".`);
  }

  async close(): Promise<void> {
    this.#gate.close();
    this.#served.close();
    await this.#load.close();
  }

  async #modelFor(adapter: string | null, signal: AbortSignal) {
    return this.#patiently(signal, () => this.#served.nameFor(this.#options.profile.model, adapter));
  }

  async #within<T>(signal: AbortSignal, work: (deadline: RequestDeadline) => Promise<T>): Promise<T> {
    const deadline = new RequestDeadline(signal, this.#options.timeoutMs);
    try {
      return await work(deadline);
    } catch (error) {
      if (deadline.signal.aborted) throw deadline.signal.reason;
      throw error;
    } finally {
      deadline.close();
    }
  }

  /** The one place that repeats, unless `lastSent` says null: without what the server does not take, and where it had not answered at all; never once text was handed out. */
  async #patiently<T>(signal: AbortSignal, send: () => Promise<T>, lastSent: () => object | null = () => ({})): Promise<T> {
    for (let reconnects = 0; ;) {
      signal.throwIfAborted();
      try {
        return await unlessAborted(send(), signal);
      } catch (thrown) {
        signal.throwIfAborted();
        const sent = lastSent();
        if (sent === null) throw thrown;
        const failure = failureOf(thrown);
        if (this.#dialect.learn(failure, sent)) {
          this.#logger.info({ said: failure.error.detail }, 'the model server refused a part of the request: it is left out');
          continue;
        }
        if (failure.status === 404) this.#served.forget();
        if (!failure.isUnanswered || reconnects >= MOST_RECONNECTS) throw thrown;
        await sleep(RECONNECT_MS * 4 ** reconnects * (0.5 + this.#random() / 2), undefined, { signal });
        reconnects++;
      }
    }
  }
}

/** Everything is given, so that the library reads nothing from the environment, and it repeats nothing. */
function clientOf({ baseUrl, apiKey }: OpenAIGeneratorOptions, fetch: typeof globalThis.fetch): OpenAI {
  return new OpenAI({
    baseURL: baseUrl.replace(/\/+$/, ''),
    apiKey: apiKey ?? 'none',
    organization: null,
    project: null,
    webhookSecret: null,
    defaultHeaders: apiKey === undefined ? { Authorization: null } : {},
    maxRetries: 0,
    // Ours are shorter.
    timeout: 3_600_000,
    logLevel: 'off',
    fetch,
  });
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
