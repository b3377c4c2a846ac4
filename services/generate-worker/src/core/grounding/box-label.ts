const MAX_LABEL_CHARS = 80;
/** How far before a mark a label is looked for. */
const REACH = 160;
const MAX_WORDS = 6;

const QUOTED = /["“”「『‘`*]{1,2}([^"“”「」『』‘’`*\n]{1,80})["”」』’`*]{1,2}[\s:：(（]*$/u;
const BEFORE_COLON = /([^.,;:!?。，；：！？\n()（）、]{1,80})[:：][\s(（]*$/u;
const LIST_MARK = /^\s*(?:[-*•–]|\(?\d{1,2}[.)、])\s+/u;
/** What opens or parts phrases, as far as labels care. */
const FUNCTION_WORDS = new Set(
  (
    'a an the this that these those its their his her your our is are was were be been has have had do does and or but of to in on at by ' +
    'for from with without into near around over under between as it they he she you we i there here where which who when while if so ' +
    'see shows show shown showing marked marks mark labelled labeled located seen visible found lies sits stands reads says means ' +
    'namely also only not no yes box region area'
  ).split(' '),
);
/** Han characters that end a label's phrase to the left, or only lead over to the mark. */
const HAN_BREAKS = /[的在是为有见示于和与处到把将如]/u;
const HAN_TAIL = /(?:位于|标于|如图|所示|处于|[在是为见于处如])+$/u;

/**
 * The label of a box, from the text directly before its mark, in this order: what stands there in quotes (or bold, or ticks); what
 * stands before a colon (`LGA1700: [[..]]`), back to the clause's beginning; else the last words of the clause: function words before
 * the mark are passed over, then at most six words are taken back to the next function word or punctuation (of Chinese: back to
 * 的, 在, 是 and the like). Empty where nothing stands there. Never more than 80 characters.
 */
export function labelBefore(text: string): string {
  const tail = text.slice(-REACH).replace(/(?:\s*\[\d{1,2}\])+\s*$/u, '');
  const quoted = QUOTED.exec(tail)?.[1];
  if (quoted !== undefined) return cleanLabel(quoted);
  const named = BEFORE_COLON.exec(tail)?.[1];
  return cleanLabel(named ?? lastPhrase(tail));
}

/** Without control and formatting characters, on one line, cut to its bound. */
export function cleanLabel(text: string): string {
  const plain = text
    .toWellFormed()
    .replace(/\[\d{1,2}\]/gu, ' ')
    .replace(/[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/\s+/gu, ' ')
    .replace(LIST_MARK, '')
    .replace(/^[\s*_`"'“”‘’,.;:，。；：、-]+|[\s*_`"'“”‘’,.;:，。；：、-]+$/gu, '');
  return Array.from(plain).slice(0, MAX_LABEL_CHARS).join('').trim();
}

function lastPhrase(tail: string): string {
  const clause =
    tail
      .replace(/[\s([（:：]+$/u, '')
      .split(/[.!?](?=\s)|[,;:!?。，；：！？\n()（）、[\]]/u)
      .at(-1) ?? '';
  if (/\p{Script=Han}\s*\S{0,8}$/u.test(clause)) return hanPhrase(clause);
  const words = clause.split(/\s+/).filter(Boolean);
  const isFunction = (word: string) => FUNCTION_WORDS.has(word.toLowerCase());
  while (words.length > 0 && isFunction(words.at(-1)!)) words.pop();
  const from = words.findLastIndex(isFunction) + 1;
  return words.slice(Math.max(from, words.length - MAX_WORDS)).join(' ');
}

function hanPhrase(clause: string): string {
  const phrase = clause.trim().replace(HAN_TAIL, '');
  return phrase.split(HAN_BREAKS).at(-1)!;
}
