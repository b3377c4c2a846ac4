/** Scripts that a language is written in; languages that are not here are written in Latin letters. */
const SCRIPTS: Record<string, readonly string[]> = {
  zh: ['Han'],
  ja: ['Han', 'Hiragana', 'Katakana'],
  ko: ['Hangul', 'Han'],
  ru: ['Cyrillic'],
  uk: ['Cyrillic'],
  be: ['Cyrillic'],
  bg: ['Cyrillic'],
  mk: ['Cyrillic'],
  sr: ['Cyrillic', 'Latin'],
  kk: ['Cyrillic'],
  mn: ['Cyrillic'],
  ar: ['Arabic'],
  fa: ['Arabic'],
  ur: ['Arabic'],
  he: ['Hebrew'],
  yi: ['Hebrew'],
  el: ['Greek'],
  hi: ['Devanagari'],
  mr: ['Devanagari'],
  ne: ['Devanagari'],
  bn: ['Bengali'],
  as: ['Bengali'],
  pa: ['Gurmukhi'],
  gu: ['Gujarati'],
  ta: ['Tamil'],
  te: ['Telugu'],
  kn: ['Kannada'],
  ml: ['Malayalam'],
  si: ['Sinhala'],
  th: ['Thai'],
  lo: ['Lao'],
  km: ['Khmer'],
  my: ['Myanmar'],
  ka: ['Georgian'],
  hy: ['Armenian'],
  am: ['Ethiopic'],
};

/**
 * Whether a pack that knows `languages` (ISO 639-1) can carry these words into the visual space: false when most of their
 * letters are of scripts that none of its languages is written in. Words of an unlisted language in a listed script pass:
 * letters alone do not tell French from English. True when the pack does not say (null).
 */
export function speaks(languages: readonly string[] | null, words: string): boolean {
  if (languages === null) return true;
  const scripts = new Set(languages.flatMap((language) => SCRIPTS[language.toLowerCase().slice(0, 2)] ?? ['Latin']));
  const known = new RegExp(`[${[...scripts].map((script) => `\\p{Script=${script}}`).join('')}]`, 'u');
  let letters = 0;
  let foreign = 0;
  for (const [letter] of words.matchAll(/[\p{L}--\p{Script=Common}]/gv)) {
    letters += 1;
    if (!known.test(letter)) foreign += 1;
  }
  return letters === 0 || foreign * 2 <= letters;
}
