import { z } from 'zod';

/** A request of the OpenAI chat protocol, as far as this server reads it. */
export const chatRequest = z.object({
  model: z.string().optional(),
  stream: z.boolean().default(false),
  stream_options: z.object({ include_usage: z.boolean().optional() }).nullish(),
  max_tokens: z.int().positive().nullish(),
  max_completion_tokens: z.int().positive().nullish(),
  messages: z
    .array(
      z.object({
        role: z.string(),
        content: z.union([
          z.string(),
          z.array(
            z.union([
              z.object({ type: z.literal('text'), text: z.string() }),
              z.object({ type: z.literal('image_url'), image_url: z.object({ url: z.string() }) }),
            ]),
          ),
        ]),
      }),
    )
    .min(1),
});
export type ChatRequest = z.infer<typeof chatRequest>;

export interface SeenPrompt {
  /** Sources by their number, in the order of the prompt: their lines, without the fences. */
  sources: { n: number; lines: string[]; picture: Buffer | null }[];
  questionPicture: Buffer | null;
  question: string;
  wantsSteps: boolean;
}

/** Tells the parts of a prompt apart by what is written in it. Error: a RangeError for a picture that is no data URL. */
export function readPrompt({ messages }: ChatRequest): SeenPrompt {
  const prompt: SeenPrompt = { sources: [], questionPicture: null, question: '', wantsSteps: false };
  let pictureOf: number | 'question' | null = null;
  for (const { role, content } of messages) {
    const parts = typeof content === 'string' ? [{ type: 'text' as const, text: content }] : content;
    for (const part of parts) {
      if (part.type === 'image_url') {
        const bytes = bytesOf(part.image_url.url);
        const source = prompt.sources.find(({ n }) => n === pictureOf);
        if (source) source.picture = bytes;
        else prompt.questionPicture = bytes;
      } else if (role === 'system') prompt.wantsSteps ||= part.text.includes('numbered steps');
      else pictureOf = readText(prompt, part.text, pictureOf);
    }
  }
  return prompt;
}

/** Answers whose picture follows. */
function readText(prompt: SeenPrompt, text: string, pictureOf: number | 'question' | null): number | 'question' | null {
  const [, picture] = /^Picture of source \[(\d+)\]/.exec(text) ?? [];
  if (picture !== undefined) return Number(picture);
  if (text.startsWith('Picture of the question')) return 'question';
  const [, heading] = /^Source \[(\d+)\]\n/.exec(text) ?? [];
  if (heading !== undefined) {
    const lines = text.split('\n').slice(2, -1);
    prompt.sources.push({ n: Number(heading), lines, picture: null });
    return Number(heading);
  }
  prompt.question = text.replace(/^Question:\n/, '');
  return pictureOf;
}

function bytesOf(url: string): Buffer {
  const [, base64] = /^data:image\/[\w.+-]+;base64,([A-Za-z0-9+/]+={0,2})$/.exec(url) ?? [];
  if (base64 === undefined) throw new RangeError('Pictures are taken as base64 data URLs.');
  return Buffer.from(base64, 'base64');
}
