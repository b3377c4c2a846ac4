/** Tokens that a model may have said at one place, with their log-probabilities. */
export type TokenChances = { token: string; logprob: number }[];

const YES = new Set(['yes', '是', '是的', '对']);
const NO = new Set(['no', '不', '不是', '否', '不对', '错']);

/** Words begin with a space in vocabularies, written in several ways; an answer may open with a quote or a mark of emphasis. */
const AROUND = /^[\s\u2581\u0120"'“‘*([]+|[\s"'”’*)\].,!:。，！：]+$/gu;

/**
 * Probability of yes against no over the places of a short answer: at the place where the two together are likeliest, yes divided by
 * both. Null where neither stands anywhere.
 */
export function yesAgainstNo(places: TokenChances[]): number | null {
  let best: { yes: number; no: number } | null = null;
  for (const chances of places) {
    const sum = { yes: 0, no: 0 };
    for (const { token, logprob } of chances) {
      const word = token.normalize('NFKC').replace(AROUND, '').toLowerCase();
      const chance = Math.exp(logprob);
      if (YES.has(word)) sum.yes += chance;
      else if (NO.has(word)) sum.no += chance;
    }
    if (sum.yes + sum.no > (best ? best.yes + best.no : 0)) best = sum;
  }
  return best && best.yes / (best.yes + best.no);
}
