import { z } from 'zod';

/** What answering is paid for by; any of the three. */
export const priceFile = z
  .strictObject({
    /** Such as EUR; only shown. */
    currency: z.string().min(1).max(10),
    /** Of everything that runs while questions are answered. */
    per_machine_hour: z.number().min(0).optional(),
    per_million_prompt_tokens: z.number().min(0).optional(),
    per_million_completion_tokens: z.number().min(0).optional(),
  })
  .refine(
    (prices) => Object.values(prices).filter((value) => typeof value === 'number').length > 0,
    'a price file needs per_machine_hour or the prices of tokens',
  );
export type Prices = z.infer<typeof priceFile>;

export interface Consumption {
  questions: number;
  /** From the first question's asking to the last one's answer. */
  wallMs: number;
  promptTokens: number;
  completionTokens: number;
}

/**
 * Cost of 10,000 questions in the file's currency: the time that the machine took for one (wall time by questions, so at the concurrency that
 * was measured), and its tokens, each by its price. Null without questions.
 */
export function costOf10000(prices: Prices, { questions, wallMs, promptTokens, completionTokens }: Consumption): number | null {
  if (questions === 0) return null;
  const each = 10_000 / questions;
  const machine = ((prices.per_machine_hour ?? 0) * wallMs) / 3_600_000;
  const prompts = ((prices.per_million_prompt_tokens ?? 0) * promptTokens) / 1e6;
  const answers = ((prices.per_million_completion_tokens ?? 0) * completionTokens) / 1e6;
  return (machine + prompts + answers) * each;
}
