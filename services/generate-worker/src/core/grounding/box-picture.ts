import type { Sentence } from './sentences.ts';

/** A picture of the prompt, by whose it is: the question's, or source `n`'s. */
export type PictureOwner = 'question' | number;

export interface NamedSource {
  n: number;
  /** Where its mark stands in the text. */
  at: number;
}

const WORDING =
  /\b(?:image|picture|photo)[ \t]{0,3}(?:#|no\.?|number)?[ \t]{0,3}(\d{1,2})\b|(?:图片|图像)[ \t]{0,3}(\d{1,2})|第[ \t]{0,3}(\d{1,2})[ \t]{0,3}[张幅个]?[ \t]{0,3}图|(\bquestion(?:'s|’s)?[ \t]{1,3}(?:picture|image|photo)|\b(?:picture|image|photo)[ \t]{1,3}(?:of|in|from)[ \t]{1,3}the[ \t]{1,3}question|问题的?图)/giu;
const REACH = 400;

/**
 * The index among `pictures` of the one that a box lies on; null where nobody can tell. In this order: what its sentence names
 * nearest before it, a source whose picture was shown, `image n` by its place in the prompt, or the question's picture in words; the question's picture; the only one that
 * was shown; the source that its sentence names behind it (a citation often ends a sentence); the first source of the whole answer
 * whose picture was shown.
 */
export function pictureOfBox(
  box: { at: number; sentence: Sentence | null },
  text: string,
  named: NamedSource[],
  pictures: PictureOwner[],
): number | null {
  const shown = (n: number) => pictures.indexOf(n);
  const [start, end] = box.sentence
    ? [Math.min(box.sentence.start, box.at), Math.max(box.sentence.end, box.at)]
    : [box.at, box.at];
  const before = named.findLast(({ n, at }) => at >= start && at < box.at && shown(n) >= 0);
  const worded = wordedPicture(text, Math.max(start, box.at - REACH), box.at, pictures);
  if (worded && (!before || worded.at > before.at)) return worded.index;
  if (before) return shown(before.n);
  const questions = pictures.indexOf('question');
  if (questions >= 0) return questions;
  if (pictures.length === 1) return 0;
  const after = named.find(({ n, at }) => at > box.at && at <= end && shown(n) >= 0) ?? named.find(({ n }) => shown(n) >= 0);
  return after ? shown(after.n) : null;
}

function wordedPicture(text: string, from: number, to: number, pictures: PictureOwner[]): { index: number; at: number } | null {
  let found: { index: number; at: number } | null = null;
  for (const match of text.slice(from, to).matchAll(WORDING)) {
    const index = match[4] === undefined ? Number(match[1] ?? match[2] ?? match[3]) - 1 : pictures.indexOf('question');
    if (pictures[index] !== undefined) found = { index, at: from + match.index };
  }
  return found;
}
