import { newStemmer } from 'snowball-stemmers';
import { isStopWord } from './stop-words.ts';

/** Longer tokens are cut, on both sides alike: a base64 blob in a text must not become the index's largest word. */
const MAX_TOKEN_CHARS = 64;

/** Scripts written without spaces between words (and Hangul, whose words carry endings): they are cut into bigrams. */
const UNSPACED = String.raw`[[\p{L}\p{M}]&&[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Hangul}\p{scx=Thai}\p{scx=Lao}\p{scx=Khmer}\p{scx=Myanmar}]&&[^\p{scx=Latin}]]`;
const SPACED = String.raw`[[\p{L}\p{M}\p{N}]--${UNSPACED}]`;
/** A run of an unspaced script, or letters and digits with single connectors inside: `12.5mm`, `SKU-1234/AB`, `men's`. */
const RUN = new RegExp(`(?<unspaced>${UNSPACED}+)|${SPACED}+(?:[\\-_.\\/+']${SPACED}+)*`, 'gv');
/** The particle 的 and the question particles part Han words; they belong to almost none. */
const PARTICLES = /[的吗呢]/u;
const LATIN_MARKS = /(?<=\p{Script=Latin})[\u0300-\u036f]+/gu;

const stemmer = newStemmer('english');

/** One spelling for what readers take as the same: NFKC, case, Latin accents, dashes, quotes, the multiplication sign. */
function fold(text: string): string {
  return (
    text
      .normalize('NFKC')
      // Upper case first: that is full case folding for ß and the ligatures.
      .toUpperCase()
      .toLowerCase()
      .normalize('NFD')
      .replace(LATIN_MARKS, '')
      .normalize('NFKC')
      .replace(/\u00ad|\u200b|\u200c|\u200d|\ufeff/gu, '')
      .replace(/[\u2010-\u2015\u2212\ufe63]/gu, '-')
      .replace(/[\u2018\u2019\u02bc]/gu, "'")
      .replace(/ς/gu, 'σ')
      .replace(/(?<=\d)\s?×\s?(?=\d)/gu, 'x')
  );
}

function cut(token: string): string {
  // Well-formed again: the cut may go through a surrogate pair.
  return token.length <= MAX_TOKEN_CHARS ? token : token.slice(0, MAX_TOKEN_CHARS).toWellFormed();
}

/** A Latin word's stem; anything with a digit, and any other script, stays as it is. */
function stem(word: string): string {
  return /^[a-z]{3,}$/.test(word) ? stemmer.stem(cut(word)) : word;
}

/** Bigrams of a run; with `single`, its characters too. A run of one character is that character. */
function unspacedTokens(run: string, single: boolean): string[] {
  return run.split(PARTICLES).flatMap((word) => {
    const chars = Array.from(word);
    const bigrams = chars.slice(1).map((char, i) => `${chars[i]}${char}`);
    return single || chars.length === 1 ? chars.concat(bigrams) : bigrams;
  });
}

/** `12.5mm` is also read as `12.5` and `mm`, because both spellings are common. */
const NUMBER_WITH_UNIT = /^(\d+(?:\.\d+)*)([a-zμω]{1,3})$/u;

/** `men's` is `men`, `don't` is `dont`. */
function withoutApostrophes(run: string): string {
  return run.replace(/'s(?=$|[-_./+])/g, '').replaceAll("'", '');
}

function spacedTokens(word: string): string[] {
  const withUnit = NUMBER_WITH_UNIT.exec(word);
  if (withUnit) return [word, withUnit[1] ?? '', withUnit[2] ?? ''];
  const parts = word.split(/[-_./+]/);
  if (parts.length === 1) return [stem(word)];
  if (/^\d+(\.\d+)+$/.test(word)) return [word];
  const words = parts.flatMap((part) => (NUMBER_WITH_UNIT.test(part) ? spacedTokens(part) : [stem(part)]));
  if (/\p{N}/u.test(word)) {
    // A code is findable whole, by what stands between its slashes, and by its parts.
    const slashed = word.split('/').filter((part) => part !== word && /[-_.+]/.test(part));
    return [word, ...slashed, ...words];
  }
  // Hyphenated words keep a whole form; a slash or a full stop without a space only joins two words.
  return /[./+]/.test(word) ? words : [parts.map(stem).join('-'), ...words];
}

function tokens(text: string, singleCharacters: boolean): string[] {
  const found: string[] = [];
  for (const match of fold(text).matchAll(RUN)) {
    const isUnspaced = match.groups?.['unspaced'] !== undefined;
    for (const token of isUnspaced ? unspacedTokens(match[0], singleCharacters) : spacedTokens(withoutApostrophes(match[0])))
      if (token) found.push(cut(token));
  }
  return found;
}

/**
 * The keywords of a record's text, with repetitions: what FTS5 and the sparse vectors are made from, so that every index finds
 * the same things. Folded (NFKC, case, Latin accents), then
 * - Latin words: Snowball English stems (`shoes` -> `shoe`);
 * - codes and numbers: whole (`am4`, `lga1700`, `12.5`), compounds whole and in parts (`SKU-1234/AB` -> `sku-1234/ab`,
 *   `sku-1234`, `sku`, `1234`, `ab`), numbers with a unit also apart (`12.5mm` -> `12.5mm`, `12.5`, `mm`);
 * - Han, kana, Hangul, Thai and the like: bigrams and single characters.
 *
 * Stop words stay: BM25 weighs them down, and a title may consist of them. Tokens have at most 64 characters. Codes, numbers
 * and Han tokens are found again when analysed (the first token is the token itself); stems need not be.
 * Simplified and traditional characters are different words. Never throws.
 */
export function analyse(text: string): string[] {
  return tokens(text, true);
}

/**
 * The keywords of a query, to search what `analyse` made. Two differences: a Han word of two characters or more asks for its
 * bigrams alone, else 主板 would find every 板; and stop words are left out, unless there is nothing else.
 */
export function analyseQuery(text: string): string[] {
  const all = tokens(text, false);
  const telling = all.filter((token) => !isStopWord(token));
  return telling.length > 0 ? telling : all;
}

/** Measures are no codes: "5mm" must not put every record with 5mm first. */
const MEASURE =
  /^(?:\d+(?:[.x]\d+)*(?:[nμmckd]?m|in|inch|ft|[mk]?g|lbs?|oz|[mcd]?l|[mk]?w|k?wh|[mk]?v|m?a|mah|[kmg]?hz|[kmgt]b|[kmg]bps|px|mp|fps|rpm|db|pcs?|st|nd|rd|th|m?s|h|min)|\d{1,4}[pkd]|\d{1,3}x)$/u;
/** Pure digits from this length on are article numbers; shorter ones are years, prices and sizes. */
const MIN_NUMERIC_CODE_DIGITS = 6;

function looksLikeCode(word: string): boolean {
  if (MEASURE.test(word)) return false;
  const digits = word.match(/\d/gu)?.length ?? 0;
  if (/\p{L}/u.test(word)) return digits > 0;
  return digits >= MIN_NUMERIC_CODE_DIGITS && /^[\d-]+$/.test(word) && !/^\d{4}-\d\d-\d\d$/.test(word);
}

/**
 * The codes of a text, folded, in its order and without repetition: letters and digits mixed (`am4`, `sku-1234/ab`), or digits
 * from six on. Alternatives are listed apart (`AM4/AM5` -> `am4`, `am5`). The same function reads queries and records, so a
 * query's code stands in a record exactly when the record's list has it.
 */
export function codesIn(text: string): string[] {
  const codes = new Set<string>();
  for (const match of fold(text).matchAll(RUN)) {
    if (match.groups?.['unspaced'] !== undefined) continue;
    const whole = withoutApostrophes(match[0]);
    const alternatives = whole.split('/');
    for (const word of alternatives.every(looksLikeCode) ? alternatives : [whole]) {
      if (looksLikeCode(word)) codes.add(cut(word));
    }
  }
  return [...codes];
}

/** A word and the number behind it, in folded text, with what may be the number's unit. */
const NUMBERED = /(?<![\p{L}\p{N}-])(\p{L}{3,}) +(\d{1,5})(?![\p{L}\p{N}%°€$]|[.,\-/:]\p{N})(?: +(\p{L}{1,4})(?!\p{L}))?/gu;

/**
 * What a text names by a noun and a number too short to be a code: `problem 480`, `iphone 15`, stemmed and folded. A number that is followed by its unit, or
 * that follows a word which says nothing (`for 48`), names nothing.
 */
export function numberedNamesIn(text: string): string[] {
  const names = new Set<string>();
  for (const [, word = '', number = '', unit = ''] of fold(text).matchAll(NUMBERED)) {
    const name = stem(word);
    if (!isStopWord(name) && !MEASURE.test(`${number}${unit}`)) names.add(`${name} ${number}`);
  }
  return [...names];
}
