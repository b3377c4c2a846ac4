/** Whether an answer in words says what a reference says. The rules are in docs/evaluation.md. */
import { missingFacts } from '@sightline/generate-worker/core/grounding/agree-facts';
import { factsOf, type Facts } from '@sightline/generate-worker/core/grounding/claim-facts';
import { analyseQuery } from '@sightline/shared/retrieval/analyser';

/** What an answer is held against. */
export interface Reference {
  question: string;
  /** Right answers; any of them will do. */
  answers: readonly string[];
}

/** More than are written: a value in another unit is not rounded to what the answer says. */
const EXACT_DECIMALS = 9;
const MARKS = /\s*\[\d{1,2}\]/g;
const PARENTHESES = /\s*\([^()]*\)/g;
const YES =
  /^(?:yes|yep|yeah|correct|true|ja|oui|是(?!否|不是)|对(?!不起|于)|可以|能(?!不能|否)|适合|有货|有(?!没有))(?![\p{Script=Latin}\p{N}])/iu;
const NO = /^(?:no|nope|not|false|incorrect|nein|non|否|不(?!好意思)|没|无(?!论)|非(?!常))(?![\p{Script=Latin}\p{N}])/iu;
const NONE = /^(?:none|nothing|no|无|没有|都不|均无)(?![\p{Script=Latin}\p{N}])/iu;
const IS_NONE = /^(?:none|nothing|无异常|没有异常)(?![\p{Script=Latin}\p{N}])/iu;
const IS_YES = /^(?:yes|是(?!否|不是)|有货)(?![\p{Script=Latin}\p{N}])/iu;
const IS_NO = /^(?:no|否|不是|无货)(?![\p{Script=Latin}\p{N}])/iu;
const DENIAL = /\b(?:not|no|none|never|without|neither|nor|cannot)\b|n['’]t\b|不|没|無|无(?!论)|非(?!常)/iu;
const CHOICE = /\b(?:or|either|maybe|perhaps|possibly)\b|或|也许|可能/iu;
/** What a model says that does not know. */
const REFUSAL = new RegExp(
  [
    String.raw`\b(?:(?:do|does|did|can|could) ?(?:not|n['’]t) (?:know|say|tell|answer|contain|mention|state|specify|give|provide)`,
    String.raw`cannot (?:answer|tell|say|know)`,
    String.raw`not (?:stated|given|shown|mentioned|specified|known|sure|clear|available|found|contained|in (?:the|any|these) sources?)`,
    String.raw`(?:no|any) (?:information|answer|source|data|idea|details?)`,
    String.raw`nothing (?:is )?(?:stated|given|said|shown|known|mentioned)`,
    String.raw`unknown|unclear|unable to answer)\b`,
    '不知道|不清楚|不确定|无法(?:回答|确定|得知|判断)|没有(?:答案|相关|提到|提供|说明|显示|数据|信息)|未(?:提及|提供|说明|显示|知)',
  ].join('|'),
  'iu',
);
/** The same of a picture. After a verdict (`No: the drawing does not show it`) it is a reason. */
const NOT_SHOWN = /\b(?:do|does|did) ?(?:not|n['’]t) show\b/iu;
const NUMBER_AHEAD = String.raw`\s*(?:[€$£¥]\s*)?-?(?=\d)`;
const LESS = new RegExp(
  `(?:\\b(?:(?:less|fewer|lower|smaller|shorter|lighter|(?:no|not) more) than|under|below|up to|at most)|不到|少于|小于|低于|最多|不超过|[<≤])${NUMBER_AHEAD}`,
  'iu',
);
const MORE = new RegExp(
  `(?:(?<!\\b(?:no|not) )\\b(?:(?:more|greater|higher|larger|longer|heavier) than|over|above|at least)|(?<!不)超过|大于|多于|高于|至少|[>≥])${NUMBER_AHEAD}`,
  'iu',
);

/** The same text but for spaces, marks of citations and a final full stop. */
export function matchesExactly(answer: string, { answers }: Reference): boolean {
  const plain = (text: string): string =>
    text
      .replace(MARKS, '')
      .replaceAll(/\s+/g, ' ')
      .trim()
      .replace(/[.。]$/, '');
  return answers.some((right) => plain(right) === plain(answer));
}

/** What an answer says is right: as a whole by what it says of numbers, units, codes, yes, no and none, and by its words. Never throws. */
export function matchesNormalised(answer: string, { question, answers }: Reference): boolean {
  return answers.some((right) => says(plainOf(answer), plainOf(right), plainOf(question)));
}

/** A model's own words for not knowing. Whether anything is cited is the caller's to look at. */
export function soundsLikeRefusal(answer: string): boolean {
  const plain = plainOf(answer);
  return REFUSAL.test(plain) || NOT_SHOWN.test(plain);
}

function plainOf(text: string): string {
  const plain = foldedOf(text).replace(/\.$/, '');
  // `3.` is the first of a list only where there is more of one.
  return /\s\d{1,2}[.)、]\s/.test(plain) ? plain : plain.replace(/^(\d{1,2})[.)、](?=\s)/, '$1 ,');
}

function foldedOf(text: string): string {
  return (
    text
      .replace(MARKS, '')
      .replaceAll(/[²³]/g, (power) => (power === '²' ? '^2' : '^3'))
      .replaceAll(/[*_`#]{1,3}(?=\p{L})|(?<=\p{L})[*_`]{1,3}|\*{2,3}/gu, '')
      .normalize('NFKC')
      .replaceAll(/[\u2010-\u2015\u2212]/g, '-')
      .replaceAll(/[×✕]/g, 'x')
      .replaceAll(/(?:\bminus\s|负|(?<=[=:(]|\bis|为|是|等于)\s*-\s)\s*(?=\d)/giu, ' -')
      // A point with three digits behind it is read as one of thousands elsewhere; here 1.015 is never 1015.
      .replaceAll(/(?<![\d.,])(\d{1,3}\.\d{3})(?![\d.,]?\d)/g, '$10')
      .replaceAll('。', '.')
      .replaceAll(/\s+/g, ' ')
      .trim()
  );
}

function says(answer: string, right: string, question: string): boolean {
  if (answer === '') return false;
  const isVerdict = [IS_NONE, IS_YES, IS_NO].some((one) => one.test(right));
  if (isVerdict && REFUSAL.test(answer)) return false;
  if (IS_NONE.test(right)) return NONE.test(answer) && addsNothing(answer, [question, right]);
  if (IS_YES.test(right)) return YES.test(answer) && addsNothing(answer, [question, right]);
  if (IS_NO.test(right)) return NO.test(answer) && addsNothing(answer, [question, right]);
  if (CHOICE.test(answer) && !CHOICE.test(right)) return false;
  if (!addsNothing(answer, [question, right])) return false;
  const parts = right.split(';').filter((part) => part.trim() !== '');
  return parts.every((part, i) => {
    const others = parts.filter((_, other) => other !== i);
    return saysPart(answer, part.replaceAll(PARENTHESES, '').trim(), [question, ...others]);
  });
}

/** Nothing is said in numbers, units and codes that is not in the reference or the question: `L1 or L2` is no `L2`. */
function addsNothing(answer: string, known: string[]): boolean {
  const { quantities, codes } = factsOf(answer);
  const there = joined(known);
  return quantities.every((quantity) => stands(quantity, there)) && [...codes].every((code) => there.codes.has(code));
}

/** Of several texts. One text would let a line's end make one number of two. */
function joined(texts: string[]): Facts {
  const all = texts.map(factsOf);
  return {
    quantities: all.flatMap(({ quantities }) => quantities),
    codes: new Set(all.flatMap(({ codes }) => [...codes])),
    kinds: new Set(all.flatMap(({ kinds }) => [...kinds])),
  };
}

function saysPart(answer: string, part: string, around: string[]): boolean {
  if (part.includes('=')) return saysFormula(answer, part);
  const wanted = factsOf(part);
  if (wanted.codes.size > 0 || wanted.quantities.length > 0) return saysFacts(answer, part, wanted, around);
  if (DENIAL.test(answer) !== DENIAL.test(part)) return false;
  const said = new Set(analyseQuery(answer));
  const words = analyseQuery(part);
  return words.length > 0 && words.every((word) => said.has(word));
}

/** Number by number and code by code in the reference's order, before anything else than what the question or the other parts say. */
function saysFacts(answer: string, part: string, wanted: Facts, around: string[]): boolean {
  const given = factsOf(answer);
  if (DENIAL.test(answer) && !DENIAL.test(part)) return false;
  if ([...wanted.codes].some((code) => !given.codes.has(code))) return false;
  if ([LESS, MORE].some((one) => one.test(part) !== one.test(answer) && !around.some((text) => one.test(text)))) return false;
  if (wanted.quantities.length === 0) return true;
  const known = joined(around);
  for (let at = 0; at + wanted.quantities.length <= given.quantities.length; at++) {
    const candidate = given.quantities.slice(at, at + wanted.quantities.length);
    const isHere = candidate.every((quantity, i) => {
      const one = wanted.quantities[i];
      return one !== undefined && stands(quantity, factsWith(one));
    });
    if (isHere) return true;
    const [first] = candidate;
    if (first && !stands(first, known)) return false;
  }
  return false;
}

type Quantity = Facts['quantities'][number];

/** The same value with the same sign, exactly: a word for a number counts as that number, and `about` rounds nothing. */
function stands(quantity: Quantity, { quantities, codes, kinds }: Facts): boolean {
  const sameSign = quantities.filter((one) => isNegative(one) === isNegative(quantity));
  const exact = { ...quantity, text: String(quantity.values[0]), rounded: false, decimals: EXACT_DECIMALS };
  return missingFacts(factsWith(exact), { quantities: sameSign, codes, kinds }).length === 0;
}

function factsWith(quantity: Quantity): Facts {
  return { quantities: [quantity], codes: new Set(), kinds: new Set() };
}

const isNegative = ({ text }: Quantity): boolean => text.startsWith('-');

/** Sign by sign without spaces, and no digit more at either end: 13 + 2 = 5 does not say 3 + 2 = 5. */
function saysFormula(answer: string, formula: string): boolean {
  const squeezed = (text: string): string =>
    text
      .toLowerCase()
      .replaceAll(/(?<=\d\s*)[*·](?=\s*\d)/g, 'x')
      .replaceAll(/\s+/g, '');
  const wanted = squeezed(formula.replace(/^[^=:]*:/, '')).replace(/\.$/, '');
  const said = squeezed(answer);
  for (let at = said.indexOf(wanted); at >= 0; at = said.indexOf(wanted, at + 1)) {
    const [before, after] = [said.slice(0, at), said.slice(at + wanted.length)];
    if (!/[\d.+\-x/^]$/.test(before) && !/^(?:[\d^]|\.\d)/.test(after)) return true;
  }
  return false;
}
