/**
 * Tokens as FTS5's `ascii` tokenizer with `_` as a token character keeps them: it parts words at every other ASCII character
 * that is no letter or digit, so those (and capitals, which it folds) are written as `_hh`. One to one.
 */
function ftsWord(token: string): string {
  return token.replace(/[^a-z0-9\u0080-\u{10ffff}]/gu, (char) => `_${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** A point's keywords as the text that FTS5 indexes; repetitions count. */
export function ftsDocument(keywords: string[]): string {
  return keywords.map(ftsWord).join(' ');
}

/** A MATCH expression for any of the keywords; null when there are none. A word said twice weighs no more. */
export function ftsQuery(keywords: string[]): string | null {
  const words = new Set(keywords.map(ftsWord).filter((word) => word !== ''));
  return words.size === 0 ? null : [...words].map((word) => `"${word}"`).join(' OR ');
}
