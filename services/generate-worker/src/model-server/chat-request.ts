import { z } from 'zod';

/** Why a request is refused, in the protocol's own words: `code` as OpenAI and vLLM have it where they have one. */
export class ChatRefused extends Error {
  readonly code: string;
  readonly status: number;

  constructor(code: string, message: string, status = 400) {
    super(message);
    this.name = 'ChatRefused';
    this.code = code;
    this.status = status;
  }
}

const MOST_MESSAGES = 256;
const MOST_PARTS = 512;
const text = z.string().max(8 * 1024 ** 2);

/** A request of the OpenAI chat protocol, as far as this server reads it; what it does not know is left unread. */
export const chatRequest = z.object({
  model: z.string().max(256).nullish(),
  messages: z
    .array(
      z.object({
        role: z.string().min(1).max(32),
        content: z.union([
          text,
          z
            .array(
              z.discriminatedUnion('type', [
                z.object({ type: z.literal('text'), text }),
                z.object({ type: z.literal('image_url'), image_url: z.object({ url: z.string() }) }),
              ]),
            )
            .max(MOST_PARTS),
        ]),
      }),
    )
    .min(1)
    .max(MOST_MESSAGES),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  max_tokens: z.int().positive().nullish(),
  max_completion_tokens: z.int().positive().nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().positive().max(1).nullish(),
  seed: z.int().nullish(),
  stop: z.union([z.string().min(1).max(256), z.array(z.string().min(1).max(256)).max(4)]).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  response_format: z.object({ type: z.literal('text', 'answers are held to no schema here') }).nullish(),
  n: z.literal(1, 'only one answer is given').nullish(),
});
export type ChatRequest = z.infer<typeof chatRequest>;

/** What a template is rendered with: pictures stand where they stood, and lie beside, in the same order. */
export type ChatPart = { type: 'text'; text: string } | { type: 'image' };
export type ChatMessage = { role: string; content: string | ChatPart[] };

/** The messages without their pictures, and the addresses of those in order. */
export function splitPictures({ messages }: Pick<ChatRequest, 'messages'>): { messages: ChatMessage[]; urls: string[] } {
  const urls: string[] = [];
  return {
    messages: messages.map(({ role, content }) => ({
      role,
      content:
        typeof content === 'string'
          ? content
          : content.map((part) => {
              if (part.type === 'text') return part;
              urls.push(part.image_url.url);
              return { type: 'image' as const };
            }),
    })),
    urls,
  };
}
