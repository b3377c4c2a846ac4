import type { Sampling } from '@sightline/shared/contracts/questions';

/** Which frame a model writes its boxes in. `square_pixels`: of the letterboxed square it was shown; `picture_pixels`: of the upright picture. */
export type BoxFrame = 'square_pixels' | 'picture_pixels' | 'unit' | 'thousand';

/** What is known of the model that the server serves. */
export interface ModelProfile {
  /** Its name at the server; null takes the first that the server lists. */
  model: string | null;
  /** Pictures a prompt may hold, the question's among them. */
  maxImages: number;
  /** Side of the square that pictures are letterboxed to. */
  imageSidePx: number;
  boxFrame: BoxFrame;
  /** Prompt and answer together. */
  contextTokens: number;
  tokensPerImage: number;
  /** Whether the server can be held to a JSON schema. */
  structured: boolean;
  /** Whether the server gives log-probabilities. */
  logprobs: boolean;
}

/** Text, or a picture that was re-encoded here: the model server never sees an address or a stranger's bytes. */
export type PromptPart = { type: 'text'; text: string } | { type: 'image'; bytes: Buffer; mediaType: 'image/png' | 'image/jpeg' };

export interface GenerateRequest {
  system: string;
  content: PromptPart[];
  /** What is absent is the worker's default. */
  sampling: Sampling;
  /** A LoRA adapter by name, instead of the model. */
  adapter: string | null;
  /** Holds the answer to this JSON schema, where the profile says that the server can. */
  schema: { name: string; schema: Record<string, unknown> } | null;
  /** Separates the prefix caches of tenants at servers that know it. */
  cacheSalt: string;
}

export interface Generated {
  text: string;
  /** `length`: cut at the bound of tokens. `repeating`: stopped here, because it said the same over and over. */
  finishReason: 'stop' | 'length' | 'repeating';
  /** As the server names it. */
  model: string;
  usage: { promptTokens: number; completionTokens: number };
}

/**
 * A vision-language model behind the OpenAI chat protocol. Errors: `generator_unavailable` (away, overloaded, or the circuit is open),
 * `generator_timeout`, `generator_malformed`, `generator_empty`: all may pass; `generator_refused`, `generator_context_exceeded`: will
 * not. An aborted signal's reason is thrown as it is.
 */
export interface Generator {
  readonly profile: ModelProfile;
  /** Streams: `onText` gets the text as it comes, in order, and is waited for; the whole is what is returned. */
  generate(
    request: GenerateRequest,
    options: { signal: AbortSignal; onText: (text: string) => void | Promise<void> },
  ): Promise<Generated>;
  /** Probability of yes against no for a question that is answered by one of the two; null where the server gives no log-probabilities. */
  yesNo(
    request: Pick<GenerateRequest, 'system' | 'content' | 'cacheSalt'>,
    options: { signal: AbortSignal },
  ): Promise<number | null>;
  /** How many questions may be with the server at once at this moment: follows its load; 0 while the circuit is open. */
  limit(): number;
  /** Throws while the server does not answer. */
  ready(): Promise<void>;
  close(): Promise<void>;
}
