import { scanMarks } from '@sightline/shared/contracts/scan-marks';
import { labelBefore } from './box-label.ts';
import { pictureOfBox, type NamedSource, type PictureOwner } from './box-picture.ts';
import { splitSentences, type Sentence } from './sentences.ts';
import { SEAM } from './tidy-text.ts';

/** More boxes than anybody looks at are not kept. */
export const MAX_BOXES = 64;

/** A box as it was written, on the picture of the prompt with this index; null where nobody can tell. */
export interface WrittenBox {
  picture: number | null;
  label: string;
  box: number[];
}

export interface ReadMarks {
  /** With `[n]` for each source that was given, and a seam for each mark that was cut. */
  text: string;
  named: NamedSource[];
  boxes: WrittenBox[];
  droppedCitations: number;
  droppedBoxes: number;
}

/** Marks are taken out of a model's text: citations that were given stay as `[n]`, boxes are put on their pictures and named. */
export function readMarks(text: string, given: ReadonlySet<number>, pictures: PictureOwner[]): ReadMarks {
  const parts: string[] = [];
  let length = 0;
  const add = (part: string) => {
    parts.push(part);
    length += part.length;
  };
  const named: NamedSource[] = [];
  const marks: { at: number; boxes: number[][] }[] = [];
  let [droppedCitations, droppedBoxes] = [0, 0];
  for (const piece of scanMarks(text, given)) {
    if (piece.kind === 'text') add(piece.text);
    else if (piece.kind === 'boxes') {
      marks.push({ at: length, boxes: piece.boxes });
      add(SEAM);
    } else if (piece.kind === 'cut') {
      if (piece.text.startsWith('[[')) droppedBoxes++;
      else droppedCitations++;
      add(SEAM);
    } else {
      const kept = [...new Set(piece.numbers)].filter((n) => given.has(n));
      droppedCitations += piece.numbers.filter((n) => !given.has(n)).length;
      for (const n of kept) {
        named.push({ n, at: length });
        add(`[${n}]`);
      }
      if (kept.length === 0) add(SEAM);
    }
  }
  const read = parts.join('');
  droppedBoxes += marks.slice(MAX_BOXES).length;
  return {
    text: read,
    named,
    boxes: readBoxes(read, marks.slice(0, MAX_BOXES), named, pictures),
    droppedCitations,
    droppedBoxes,
  };
}

function readBoxes(
  text: string,
  marks: { at: number; boxes: number[][] }[],
  named: NamedSource[],
  pictures: PictureOwner[],
): WrittenBox[] {
  if (marks.length === 0) return [];
  // Blanks, as long as they were, so that a mark behind a full stop does not join two sentences.
  const blank = text.replaceAll(SEAM, ' ');
  const sentences = splitSentences(blank);
  const found: WrittenBox[] = [];
  let [next, label, lastMark] = [0, '', -1];
  for (const { at, boxes } of marks) {
    while (next < sentences.length && sentences[next]!.start <= at) next++;
    const sentence: Sentence | null = sentences[next - 1] ?? sentences[0] ?? null;
    // Marks in a row, or listed, are of one thing.
    const follows =
      lastMark >= 0 &&
      /^[\s,;、，；(]*(?:and|&|和|及|与)?[\s(]*$/u.test(blank.slice(lastMark + 1, at).slice(0, 64)) &&
      at - lastMark < 64;
    if (!follows) label = labelBefore(blank.slice(Math.max(sentence?.start ?? 0, lastMark + 1, at - 400, 0), at));
    lastMark = at;
    const picture = pictureOfBox({ at, sentence }, blank, named, pictures);
    for (const box of boxes) found.push({ picture, label, box });
  }
  return found;
}
