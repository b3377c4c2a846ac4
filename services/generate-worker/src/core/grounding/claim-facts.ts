import { codesIn } from '@sightline/shared/retrieval/analyser';
import { unitAt, unitNamed, type Unit } from './claim-units.ts';

/** A number of a text, with its unit where one is written. `1,200` may be 1200 or 1.2: both are kept. */
export interface Quantity {
  values: number[];
  unit: Unit | null;
  decimals: number;
  /** The text says `about`. */
  rounded: boolean;
  /** As written. */
  text: string;
}

export interface Facts {
  quantities: Quantity[];
  /** Letters with digits, or digits from six on, without hyphens, spaces and the like: `am4`, `sl5655000`. */
  codes: Set<string>;
  /** Kinds of units that are named by themselves: `all sizes in mm`. */
  kinds: Set<string>;
}

const DASHES = /[\u2010-\u2015\u2212\ufe63]/g;
const TOKEN = /[\p{Script=Latin}\p{N}]+(?:[-_./+'][\p{Script=Latin}\p{N}]+)*/gu;
/** `LGA 1700`, `AM 4`, `DDR 5`: capitals and a number that is no measure of theirs. */
const SPACED_CODE = /(?<![\p{L}\p{N}])([A-Z]{2,6}) (\d{1,6}[A-Z]?)(?![\p{L}\p{N}.,]\d|[\p{L}\p{N}])/gu;
const NO_CODES = new Set('EUR USD GBP CNY RMB ABOUT ONLY NO AND OR THE OF'.split(' '));
const NUMBER =
  /(?<![\p{Script=Latin}\p{N}_]|\d[.,])-?(?:\d{1,3}(?:[,'\u00a0\u202f]\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})+(?:,\d+)|\d+(?:[.,]\d+)?)/gu;
const BEFORE_CURRENCY = /([€$£¥]|EUR|USD|GBP|CNY|RMB)[ \u00a0]?$/;
/** An attribute's name may carry its unit: `fan_mm: 140`. */
const BEFORE_ATTRIBUTE = /_(mm|cm|m|kg|g|w|v|a|ml|l|mah|hz)["']?\s?[:=]\s?$/i;
const ABOUT = /(?:about|around|roughly|approximately|approx\.?|nearly|almost|some|~|≈|约|大约|近)\s*(?:[€$£¥]\s?)?$/i;
const TIMES = /^\s?[x×*]\s?$/;
const RANGE = /^\s?(?:-|to|or|and|至|到|或|和|~)\s?$/;
const WORDS: Record<string, number> = {
  two: 2,
  three: 3,
  four: 4,
  five: 5,
  six: 6,
  seven: 7,
  eight: 8,
  nine: 9,
  ten: 10,
  eleven: 11,
  twelve: 12,
  dozen: 12,
  pair: 2,
  两: 2,
  二: 2,
  三: 3,
  四: 4,
  五: 5,
  六: 6,
  七: 7,
  八: 8,
  九: 9,
  十: 10,
};
const WORD = new RegExp(
  `\\b(?:${Object.keys(WORDS)
    .filter((w) => /[a-z]/.test(w))
    .join('|')})\\b|[两二三四五六七八九十](?=[个只件张条块天日])`,
  'giu',
);

/**
 * The numbers, units and codes of a text. `78 x 54 mm` and `54-90 mm` share their unit; decimal commas, thousands and
 * attributes that carry their unit (`fan_mm: 140`) are read; marks of citations and numbers of list items are not.
 */
export function factsOf(written: string): Facts {
  const text = written
    // Else NFKC makes `140，200` one number.
    .replace(/[，、]/g, ' , ')
    .normalize('NFKC')
    .replace(DASHES, '-')
    .replace(/\[\d{1,2}\]/g, ' ')
    .replace(/^[ \t]*\d{1,2}[.)、](?!\d)/gm, ' ');
  const codes = new Set<string>();
  // Codes are taken out, so that their digits are no numbers.
  const spaced = text.replace(SPACED_CODE, (whole, letters: string, digits: string) => {
    if (NO_CODES.has(letters) || unitNamed(letters)) return whole;
    codes.add(`${letters}${digits}`.toLowerCase());
    return ' '.repeat(whole.length);
  });
  const rest = spaced.replace(TOKEN, (token) => {
    const found = codesIn(token).filter((code) => /\p{L}/u.test(code) || code.length >= 6);
    if (found.length === 0 || isMeasure(token)) return token;
    for (const code of found) codes.add(code.replace(/[-_./+']/g, ''));
    return ' '.repeat(token.length);
  });
  const kinds = new Set(
    [...rest.matchAll(/(?<![\p{L}\p{N}_])\p{L}{2,12}(?![\p{L}\p{N}])/gu)].flatMap(([name]) =>
      /^in$/i.test(name) ? [] : (unitNamed(name)?.kind ?? []),
    ),
  );
  return { quantities: quantitiesOf(rest), codes, kinds };
}

/** `78x78mm` and `3.5mm` are numbers, `140mm-fan` too. */
function isMeasure(token: string): boolean {
  return /^\d+(?:[.,]\d+)?(?:x\d+(?:[.,]\d+)?)*(?:-?\p{L}{1,12})?(?:-\p{L}+)*$/iu.test(token) && endsInUnit(token);
}

function endsInUnit(token: string): boolean {
  const unit = /(?:\d)-?(\p{L}{1,12})(?:-\p{L}+)*$/u.exec(token)?.[1];
  return unit === undefined
    ? /x/i.test(token)
    : unit.toLowerCase() === 'x' || unitNamed(unit) !== null || /^(?:st|nd|rd|th)$/i.test(unit);
}

function quantitiesOf(text: string): Quantity[] {
  const found: (Quantity & { start: number; end: number })[] = [];
  // `78x78`: numbers parted by an x stand alone.
  const apart = text.replace(/(?<=\d)[x×*](?=\d)/gi, '×');
  for (const match of apart.matchAll(NUMBER)) {
    const [start, end] = [match.index, match.index + match[0].length];
    const before = apart.slice(Math.max(0, start - 24), start);
    const named =
      BEFORE_CURRENCY.exec(before)?.[1] ??
      BEFORE_ATTRIBUTE.exec(before)?.[1] ??
      (/百分之\s?$/.test(before) ? '百分之' : undefined);
    const after = unitAt(apart, end);
    const unit = after?.unit ?? (named === undefined ? null : unitNamed(named));
    const { values, decimals } = readNumber(match[0]);
    found.push({ values, decimals, unit, rounded: ABOUT.test(before), text: match[0], start, end: after?.end ?? end });
  }
  // From the right: `54 x 90 mm`, `54-90 mm`, `54 and 90 mm`.
  for (let i = found.length - 2; i >= 0; i--) {
    const [quantity, next] = [found[i]!, found[i + 1]!];
    const between = apart.slice(quantity.end, next.start);
    if (!quantity.unit && next.unit && (TIMES.test(between) || RANGE.test(between))) quantity.unit = next.unit;
  }
  const counted = [...apart.matchAll(WORD)].map((match) => ({
    values: [WORDS[match[0].toLowerCase()]!],
    decimals: 0,
    unit: unitAt(apart, match.index + match[0].length)?.unit ?? null,
    rounded: false,
    text: match[0],
  }));
  return [...found, ...counted].map(({ values, unit, decimals, rounded, text: written }) => ({
    values,
    unit,
    decimals,
    rounded,
    text: written,
  }));
}

function readNumber(written: string): { values: number[]; decimals: number } {
  // A sign before a number is a dash more often than a minus.
  const plain = written.replace(/^-/, '').replace(/['\u00a0\u202f]/g, '');
  const thousands = /^[1-9]\d{0,2}(?:[,.]\d{3})+$/.test(plain);
  const decimal =
    plain.includes(',') && plain.includes('.') ? (plain.lastIndexOf(',') > plain.lastIndexOf('.') ? ',' : '.') : null;
  if (decimal) {
    const value = plain.replaceAll(decimal === ',' ? '.' : ',', '').replace(',', '.');
    return { values: [Number(value)], decimals: value.split('.')[1]?.length ?? 0 };
  }
  const asDecimal = Number(plain.replace(',', '.'));
  const decimals = plain.split(/[.,]/)[1]?.length ?? 0;
  if (!thousands) return { values: [asDecimal], decimals };
  const whole = Number(plain.replace(/[,.]/g, ''));
  return Number.isNaN(asDecimal) ? { values: [whole], decimals: 0 } : { values: [whole, asDecimal], decimals };
}
