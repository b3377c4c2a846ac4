import { MAX_QUESTION_SOURCES } from './questions.ts';

/** A piece of a model's text, in order; together they are all of it. */
export type Piece =
  | { kind: 'text'; text: string }
  /** Numbers of sources as written, given or not. */
  | { kind: 'citation'; numbers: number[] }
  | { kind: 'boxes'; boxes: number[][] }
  /** A mark that the end of the text cut. */
  | { kind: 'cut'; text: string };

const NUMBER = /[-+−]?(?:\d+(?:\.\d*)?|\.\d+)/y;
const SPACE = /[\s\u3000]*/y;
const SEPARATOR = /[\s\u3000]*(?:[,;，；、]|and\b|&|和|及)?[\s\u3000]*/y;
/** `[^1]`, `[c1]`, `[#1]`, `[source 1]`, `[citation:1]`, `[来源1]`. */
const PREFIX = /(?:\^|#|(?:citation|source|cite|ref|doc|来源|c)[\s:_-]{0,2})?/iy;
/** `【1†L3】` names lines of the source, which nobody here can check. */
const SUFFIX = /(?:†[^\]】\n]{0,40})?/y;
const CLOSING: Record<string, string> = { '[': ']', '【': '】', '［': '］' };
/** A mark is short; what is longer is none. */
const MAX_NUMBERS = 256;
const CODE = /```[\s\S]*?(?:```|$)|`[^`\n]{1,400}`/y;
/** An array is assigned, not cited. */
const ASSIGNED = /[=∈]\s{0,2}$/;
const CUT_LIST = /^\[\s*[-\d.][\s\d.,;-]*$/;
const CUT_NESTED = /^\[\[\s*[-\d.][\s\d.,;[\]-]*$/;
const LONGEST_CUT = 400;

/**
 * Parts a model's text into words, citations and boxes, in one pass that never goes back.
 *
 * `[[x1, y1, x2, y2]]`, also several in `[[..], [..]]`, is a box: only double brackets around fours of numbers are.
 *
 * What is a citation: a bracket (`[]`, `【】`, also double) of nothing but whole numbers from 1 to 99, each perhaps behind a prefix.
 * One number alone always is, so that an invented `[42]` is cut. Several are where one of them was given, or where all could be
 * sources of some prompt (at most MAX_QUESTION_SOURCES); a longer or larger list is an array of the answer's own. Never are: numbers
 * of three digits and more (`[2020]`), zero, fractions, what stands in code, behind `=`, or before `(` (a Markdown link).
 */
export function scanMarks(text: string, given: ReadonlySet<number>): Piece[] {
  const pieces: Piece[] = [];
  let from = 0;
  const flush = (to: number) => {
    if (to > from) pieces.push({ kind: 'text', text: text.slice(from, to) });
  };
  for (let i = 0; i < text.length;) {
    const char = text[i]!;
    if (char === '`') {
      const end = endOfCode(text, i);
      const inner = text.slice(i + 1, end - 1).trim();
      const box = char === '`' && inner.startsWith('[[') ? readMark(inner, 0, given) : null;
      if (box && box.piece.kind === 'boxes' && box.end === inner.length) {
        flush(i);
        pieces.push(box.piece);
        from = end;
      }
      i = end;
      continue;
    }
    if (isCutAt(text, i)) {
      flush(i);
      pieces.push({ kind: 'cut', text: text.slice(i) });
      return pieces;
    }
    const mark = char in CLOSING && !ASSIGNED.test(text.slice(Math.max(0, i - 3), i)) ? readMark(text, i, given) : null;
    if (!mark) {
      i++;
      continue;
    }
    flush(i);
    pieces.push(mark.piece);
    i = from = mark.end;
  }
  flush(text.length);
  return pieces;
}

function endOfCode(text: string, at: number): number {
  CODE.lastIndex = at;
  return at + (CODE.exec(text)?.[0].length ?? 1);
}

function readMark(text: string, at: number, given: ReadonlySet<number>): { piece: Piece; end: number } | null {
  const nested = readNested(text, at);
  if (nested) {
    if (nested.groups.every((group) => group.length === 4))
      return { piece: { kind: 'boxes', boxes: nested.groups }, end: nested.end };
    const numbers = nested.groups.flat();
    return isCitation(numbers, given) && !isLink(text, nested.end)
      ? { piece: { kind: 'citation', numbers }, end: nested.end }
      : null;
  }
  const list = readList(text, at, true);
  return list && isCitation(list.numbers, given) && !isLink(text, list.end)
    ? { piece: { kind: 'citation', numbers: list.numbers }, end: list.end }
    : null;
}

const isLink = (text: string, end: number) => text[end] === '(';

function isCitation(numbers: number[], given: ReadonlySet<number>): boolean {
  if (numbers.length === 0 || !numbers.every((n) => Number.isInteger(n) && n >= 1 && n <= 99)) return false;
  return numbers.length === 1 || numbers.some((n) => given.has(n)) || numbers.every((n) => n <= MAX_QUESTION_SOURCES);
}

/** `[[1, 2], [3]]`. */
function readNested(text: string, at: number): { groups: number[][]; end: number } | null {
  const close = CLOSING[text[at]!];
  let i = skip(SPACE, text, at + 1);
  const groups: number[][] = [];
  let count = 0;
  while ((text[i] ?? '') in CLOSING) {
    const list = readList(text, i, groups.length === 0);
    if (!list) return null;
    groups.push(list.numbers);
    if ((count += list.numbers.length) > MAX_NUMBERS) return null;
    i = skip(SEPARATOR, text, list.end);
  }
  return groups.length > 0 && text[i] === close ? { groups, end: i + 1 } : null;
}

/** `[1, 2]`, with or without prefixes. */
function readList(text: string, at: number, prefixes: boolean): { numbers: number[]; end: number } | null {
  const close = CLOSING[text[at]!];
  const numbers: number[] = [];
  let i = skip(SPACE, text, at + 1);
  while (numbers.length <= MAX_NUMBERS) {
    const prefixed = prefixes ? skip(PREFIX, text, i) : i;
    NUMBER.lastIndex = prefixed;
    const number = NUMBER.exec(text)?.[0];
    if (number === undefined) return null;
    // `[01]` is a code, not a source; `[c1.5]` and `[c-1]` are nothing.
    if ((prefixed > i || /^0\d/.test(number)) && !/^[1-9]\d?$/.test(number)) return null;
    numbers.push(Number(number.replace('−', '-')));
    i = skip(SUFFIX, text, prefixed + number.length);
    const next = skip(SEPARATOR, text, i);
    if (text[next] === close) return { numbers, end: next + 1 };
    if (next === i) return null;
    i = next;
  }
  return null;
}

function skip(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return at + (pattern.exec(text)?.[0].length ?? 0);
}

/** From here to the end of the text there is nothing but the beginning of a mark. */
function isCutAt(text: string, at: number): boolean {
  if (text.length - at > LONGEST_CUT || text[at] !== '[') return false;
  const rest = text.slice(at);
  return CUT_LIST.test(rest) || (CUT_NESTED.test(rest) && !rest.includes(']]'));
}
