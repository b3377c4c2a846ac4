import { Template } from '@huggingface/jinja';
import { Tokenizer } from '@huggingface/tokenizers';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { ChatRefused, type ChatMessage, type ChatPart } from './chat-request.ts';
import type { ModelPack } from './model-pack.ts';

/** No token of a vocabulary stands for more characters on average: what is longer is not even cut into tokens. */
const MOST_CHARS_A_TOKEN = 64;

/**
 * How a template takes messages: texts and lists of parts as they were sent, every message as a list, or every one as a text with the token
 * of a picture in it. The first that works is used.
 */
const MESSAGE_FORMS = ['as_sent', 'parts', 'text'] as const;
type MessageForm = (typeof MESSAGE_FORMS)[number];

/** The library's declarations do not resolve under NodeNext, so what is used of it is typed here. */
interface TokenizerPart {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
  decode(ids: number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
}

/** Turns messages into a model's tokens, by the template and the tokenizer of its pack, and tokens into text. */
export class ChatPrompt {
  readonly imageTokenId: number;
  readonly eosIds: ReadonlySet<number>;
  readonly #tokenizer: TokenizerPart;
  readonly #template: Template;
  readonly #pack: ModelPack;
  readonly #imageToken: string;
  readonly #form: MessageForm;

  /** Errors: `pack_invalid` for a tokenizer or a template that cannot be used. */
  constructor(pack: ModelPack) {
    this.#pack = pack;
    this.#tokenizer = within('tokenizer.json', () => new Tokenizer(pack.tokenizerJson, pack.tokenizerConfig.whole));
    this.#template = within('the chat template', () => new Template(pack.chatTemplate));
    const image = pack.imageTokenId ?? this.#tokenizer.token_to_id('<image>');
    const imageToken = image === undefined ? undefined : this.#tokenizer.id_to_token(image);
    if (image === undefined || imageToken === undefined) throw invalid('no token stands for a picture (image_token_index)');
    this.imageTokenId = image;
    this.#imageToken = imageToken;
    // As a text it must be found again in a prompt: one that is no added token is cut into pieces.
    const found = this.#tokenizer.encode(`a${imageToken}a`, { add_special_tokens: false }).ids.filter((id) => id === image);
    if (found.length !== 1) throw invalid(`tokenizer.json does not keep ${imageToken}, which stands for a picture, in one piece`);
    const { eosToken } = pack.tokenizerConfig;
    const eos = eosToken === null ? undefined : this.#tokenizer.token_to_id(eosToken);
    this.eosIds = new Set(pack.eosIds.length > 0 || eos === undefined ? pack.eosIds : [eos]);
    if (this.eosIds.size === 0) throw invalid('no token ends an answer (eos_token_id)');
    this.#form = this.#probe();
  }

  /**
   * Token ids of a prompt that ends where the answer begins; each picture is so many tokens. Errors: `ChatRefused` for messages that the
   * template does not take, and for a text that is longer than any context.
   */
  ids(messages: ChatMessage[], pictures: number, tokensPerImage: number): number[] {
    let rendered: string;
    try {
      rendered = this.#render(messages, this.#form);
    } catch (error) {
      throw new ChatRefused('invalid_request_error', `The chat template says: ${textOf(error)}`);
    }
    if (rendered.length > this.#pack.contextTokens * MOST_CHARS_A_TOKEN)
      throw contextExceeded(this.#pack.contextTokens, `about ${Math.round(rendered.length / 4)}`);
    const shown = rendered.split(this.#imageToken).length - 1;
    if (shown !== pictures)
      throw new ChatRefused(
        'invalid_request_error',
        `The prompt has ${shown} places for ${pictures} pictures (${this.#imageToken}).`,
      );
    // One place of a picture becomes as many tokens as the picture has; ids, not text, so that the text stays short.
    const { bosToken } = this.#pack.tokenizerConfig;
    const special = bosToken === null || bosToken === '' || !rendered.startsWith(bosToken);
    return this.#tokenizer
      .encode(rendered, { add_special_tokens: special })
      .ids.flatMap((id) => (id === this.imageTokenId ? new Array<number>(tokensPerImage).fill(id) : [id]));
  }

  text(ids: number[]): string {
    return this.#tokenizer.decode(ids, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  }

  /** One token as it is shown, control tokens by their names. */
  nameOf(id: number): string {
    return this.#tokenizer.decode([id], { skip_special_tokens: false, clean_up_tokenization_spaces: false });
  }

  #render(messages: ChatMessage[], form: MessageForm): string {
    const { bosToken, eosToken } = this.#pack.tokenizerConfig;
    const shaped = messages.map(({ role, content }) => {
      if (form === 'as_sent') return { role, content };
      const parts = typeof content === 'string' ? [{ type: 'text' as const, text: content }] : content;
      return { role, content: form === 'parts' ? parts : parts.map((part) => this.#word(part)).join('\n') };
    });
    return this.#template.render({
      messages: shaped,
      add_generation_prompt: true,
      bos_token: bosToken ?? '',
      eos_token: eosToken ?? '',
    });
  }

  #word(part: ChatPart): string {
    return part.type === 'text' ? part.text : this.#imageToken;
  }

  /** Messages of both forms show which ones a template takes: a text, and parts with a picture among them. */
  #probe(): MessageForm {
    const system: ChatMessage = { role: 'system', content: 'probe of a rule' };
    const inParts: ChatMessage = { role: 'user', content: [{ type: 'image' }, { type: 'text', text: 'probe of parts' }] };
    let said = '';
    for (const form of MESSAGE_FORMS) {
      try {
        const text = this.#render([system, { role: 'user', content: 'probe of a text' }], form);
        const parts = this.#render([system, inParts], form);
        const pictures = parts.split(this.#imageToken).length - 1;
        if (text.includes('probe of a text') && parts.includes('probe of parts') && pictures === 1) return form;
        said = 'it shows not one text and one picture of a message that has both';
      } catch (error) {
        said = textOf(error);
      }
    }
    throw invalid(`the chat template: ${said}`);
  }
}

/** As OpenAI says it. */
export function contextExceeded(contextTokens: number, asked: string): ChatRefused {
  return new ChatRefused(
    'context_length_exceeded',
    `This model's maximum context length is ${contextTokens} tokens, and ${asked} were asked for, prompt and answer together.`,
  );
}

function within<T>(what: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw new SightlineError('pack_invalid', `${what}: ${textOf(error)}`, { cause: error });
  }
}

const invalid = (detail: string) => new SightlineError('pack_invalid', `${detail}.`);
const textOf = (error: unknown) => (error instanceof Error ? error.message : String(error)).slice(0, 300);
