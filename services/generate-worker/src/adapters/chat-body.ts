import type { OpenAI } from 'openai';
import type { Sampling } from '@sightline/shared/contracts/questions';
import type { GenerateRequest, PromptPart } from '../core/generator.ts';
import type { ServerDialect } from './server-dialect.ts';

export type SamplingDefaults = Required<Omit<Sampling, 'seed'>>;

type Messages = OpenAI.ChatCompletionMessageParam[];
/** `cache_salt` is vLLM's own. */
type Streamed = OpenAI.ChatCompletionCreateParamsStreaming & { cache_salt?: string };
type Whole = OpenAI.ChatCompletionCreateParamsNonStreaming & { cache_salt?: string };

interface Served {
  name: string;
  isVllm: boolean;
}

export function answerBody(
  request: GenerateRequest,
  served: Served,
  sampling: Sampling & SamplingDefaults,
  dialect: ServerDialect,
): Streamed {
  const { schema } = request;
  return {
    model: served.name,
    messages: messagesOf(request),
    stream: true,
    ...(dialect.takesUsage ? { stream_options: { include_usage: true } } : {}),
    temperature: sampling.temperature,
    top_p: sampling.topP,
    [dialect.tokensField]: sampling.maxTokens,
    ...(sampling.stop.length > 0 && dialect.takesStop ? { stop: sampling.stop } : {}),
    ...(sampling.seed === undefined ? {} : { seed: sampling.seed }),
    ...(schema && dialect.structured
      ? { response_format: { type: 'json_schema', json_schema: { name: schema.name, schema: schema.schema, strict: true } } }
      : {}),
    ...saltOf(request, served, dialect),
  };
}

/** A few tokens, because some models open with a quote or a mark before the word. */
const YES_NO_TOKENS = 3;

export function yesNoBody(
  request: Pick<GenerateRequest, 'system' | 'content' | 'cacheSalt'>,
  served: Served,
  dialect: ServerDialect,
): Whole {
  return {
    model: served.name,
    messages: messagesOf(request),
    temperature: 0,
    [dialect.tokensField]: YES_NO_TOKENS,
    logprobs: true,
    top_logprobs: dialect.topLogprobs,
    ...saltOf(request, served, dialect),
  };
}

function saltOf({ cacheSalt }: { cacheSalt: string }, served: Served, dialect: ServerDialect): { cache_salt?: string } {
  // vLLM refuses an empty one.
  return served.isVllm && dialect.takesSalt && cacheSalt !== '' ? { cache_salt: cacheSalt } : {};
}

function messagesOf({ system, content }: Pick<GenerateRequest, 'system' | 'content'>): Messages {
  const user: Messages[number] = { role: 'user', content: content.map(partOf) };
  return system === '' ? [user] : [{ role: 'system', content: system }, user];
}

function partOf(part: PromptPart): OpenAI.ChatCompletionContentPart {
  return part.type === 'text'
    ? part
    : { type: 'image_url', image_url: { url: `data:${part.mediaType};base64,${part.bytes.toString('base64')}` } };
}
