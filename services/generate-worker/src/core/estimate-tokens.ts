const WIDE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;

/**
 * About how many tokens a text has, rather too many than too few: one and a half for each character of Chinese, Japanese and Korean, one
 * for each three others, which is what byte-pair vocabularies of language models need for dense text (codes, numbers). The server has the
 * last word: who goes over is told so and builds a shorter prompt.
 */
export function estimateTokens(text: string): number {
  let wide = 0;
  let other = 0;
  for (const char of text) {
    if (WIDE.test(char)) wide += 1;
    else other += 1;
  }
  return Math.ceil(wide * 1.5 + other / 3);
}
