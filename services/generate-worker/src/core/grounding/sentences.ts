/** A sentence of a text: `text.slice(start, end)`, without the space around it and without its list mark. */
export interface Sentence {
  text: string;
  start: number;
  end: number;
}

/** Full stops of these end no sentence. */
const ABBREVIATIONS = new Set(
  'e.g i.e eg ie cf vs approx ca fig figs ref incl excl max min dia diam vol pp mr mrs ms dr prof st inc ltd co dept tel temp qty std'.split(
    ' ',
  ),
);
/** `etc.` may end one. */
const MAY_END = new Set(['etc', 'al', 'p.m', 'a.m']);
/** `1.`, `2)`, `-`, `*`, `•`, `(3)` at the beginning of a line. */
const LIST_MARK = /(?:[-*•–][ \t]+|\(?\d{1,2}[.)、](?!\d)[ \t]*)/y;
/** `No. 3` goes on, `no.` ends. */
const BEFORE_NUMBERS = new Set(['no', 'nos', 'p', 'art']);
const CLOSERS = /["'”’»)\]）」』】*_]/;
const MARKS = /[ \t]*(?:\[\d{1,2}\][ \t]*)+/y;
const WORD_CHARS = /[\p{L}.]/u;
const LONGEST_WORD = 12;
/** Looked at behind a full stop: a bound, so that a hundred thousand full stops cost no square of it. */
const LONGEST_END = 12;

/**
 * English and Chinese sentences. A line's end ends one, so list items are sentences. `3.5`, `e.g.`, initials and numbers of list items
 * do not. Citation marks behind the full stop belong to the sentence before, unless the text goes on in lower case (`[1] says`).
 */
export function splitSentences(text: string): Sentence[] {
  const sentences: Sentence[] = [];
  let start = 0;
  let lineStart = true;
  const push = (end: number) => {
    const sentence = trimmed(text, start, end, lineStart);
    if (sentence) sentences.push(sentence);
    start = end;
    lineStart = false;
  };
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (char === '\n' || char === '\r') {
      push(i);
      start = i + 1;
      lineStart = true;
      continue;
    }
    if (!'.!?。！？…'.includes(char) || !endsSentence(text, i, start)) continue;
    let end = i + 1;
    while (end < text.length && '.!?。！？…'.includes(text[end]!)) end++;
    while (end < text.length && CLOSERS.test(text[end]!)) end++;
    MARKS.lastIndex = end;
    const marks = MARKS.exec(text);
    if (marks && !/\p{Ll}/u.test(text[end + marks[0].length] ?? '')) end += marks[0].length;
    push(end);
    i = end - 1;
  }
  push(text.length);
  return sentences;
}

function endsSentence(text: string, at: number, start: number): boolean {
  const char = text[at]!;
  if ('。！？…'.includes(char)) return true;
  let next = at + 1;
  while (next < Math.min(text.length, at + LONGEST_END) && ('.!?'.includes(text[next]!) || CLOSERS.test(text[next]!))) next++;
  const after = text[next];
  // `3.5`, `example.com`, `Yes.No` are one; a citation mark or a Chinese character may follow without a space.
  if (after !== undefined && !/[\s[\p{Script=Han}]/u.test(after)) return false;
  if (char !== '.') return true;
  const word = wordBefore(text, at, start);
  // `1.` of a list item, where nothing else stands before it.
  if (/^\d{1,2}$/.test(text.slice(start, Math.min(at, start + 8)).trim()) && at - start < 8) return false;
  const upperFollows = after === undefined || /[\s[]*[\p{Lu}\p{Script=Han}]|[\s[]*$/uy.test(text.slice(next, next + 8));
  if (MAY_END.has(word)) return upperFollows;
  if (ABBREVIATIONS.has(word)) return false;
  if (BEFORE_NUMBERS.has(word)) return !/^\s*\d/.test(text.slice(next, next + 4));
  return !/^\p{L}$/u.test(word) || word === 'i' || !/^\p{Lu}$/u.test(text[at - 1] ?? '') || after === undefined;
}

function wordBefore(text: string, at: number, start: number): string {
  let from = at;
  while (from > start && at - from < LONGEST_WORD && WORD_CHARS.test(text[from - 1]!)) from--;
  return text.slice(from, at).toLowerCase();
}

function trimmed(text: string, from: number, to: number, lineStart: boolean): Sentence | null {
  let [start, end] = [from, to];
  while (start < end && /\s/.test(text[start]!)) start++;
  LIST_MARK.lastIndex = start;
  const mark = lineStart ? LIST_MARK.exec(text) : null;
  if (mark && start + mark[0].length <= end) start += mark[0].length;
  while (end > start && /\s/.test(text[end - 1]!)) end--;
  return end > start ? { text: text.slice(start, end), start, end } : null;
}
