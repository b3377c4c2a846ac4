import type { AnswerBox } from '@sightline/shared/contracts/questions';
import { parseAnswer, type ParsedAnswer, type PromptShown, type ShownPicture } from './parse-answer.ts';
import { mapBox, writeBox, type Box } from './picture-frame.ts';

/** An answer as readers have it: its text without marks of boxes, and the boxes apart. */
export interface AnswerToWrite {
  /** `[n]` names a source that was shown. */
  answer: string;
  boxes: BoxToWrite[];
}

export interface BoxToWrite {
  /** Whose picture it is on. */
  of: ShownPicture['of'];
  label: string;
  /** Of the picture as stored. */
  pixels: AnswerBox['pixels'];
}

/** Places of a box that are tried in a text. */
const MOST_PLACES = 24;

/**
 * The other way of `parseAnswer`: what a model would have to write to be read as this answer, its boxes as `[[x1,y1,x2,y2]]` in
 * the prompt's frame. Each stands behind what its label names and the source after it; what the text does not name is named in a
 * line of its own at the end. Null where no way is found that is read back with the same boxes on the same pictures.
 */
export function writeAnswer({ answer, boxes }: AnswerToWrite, shown: PromptShown): string | null {
  const framed = framedBoxes(boxes, shown);
  let text = parseAnswer(answer, shown).answer;
  let read = parseAnswer(text, shown);
  if (!framed || read.answer !== text || read.boxes.length > 0) return null;
  const written: Expected[] = [];
  for (const { box, numbers, expected } of framed) {
    written.push(expected);
    const next = place(text, `[[${numbers.join(',')}]]`, box, read.answer, written, shown);
    if (next === null) return null;
    text = next;
    read = parseAnswer(text, shown);
  }
  return text;
}

/** The same as JSON after ANSWER_SCHEMA, which says too whether the sources answer. Null where that is not read back. */
export function writeAnswerJson(
  { answer, boxes, notFound }: AnswerToWrite & { notFound: boolean },
  shown: PromptShown,
): string | null {
  const framed = framedBoxes(boxes, shown);
  const text = parseAnswer(answer, shown).answer;
  if (!framed) return null;
  const entries = framed.map(({ box: { of, label }, numbers }) => ({ image: of === 'question' ? 0 : of, label, box: numbers }));
  const written = JSON.stringify({ answer: text, ...(entries.length > 0 && { boxes: entries }), not_found: notFound });
  const read = parseAnswer(written, shown);
  const expected = framed.map((one) => one.expected);
  return read.answer === text && read.notFound === notFound && matchOf(read, expected) !== 'none' ? written : null;
}

/** Each box once, in the numbers of the prompt's frame; null where one is on no picture that was shown. */
function framedBoxes(boxes: BoxToWrite[], shown: PromptShown): { box: BoxToWrite; numbers: Box; expected: Expected }[] | null {
  const framed = new Map<string, { box: BoxToWrite; numbers: Box; expected: Expected }>();
  for (const box of boxes) {
    const picture = shown.pictures.find(({ of }) => of === box.of);
    const numbers = picture && writeBox(box.pixels, shown.boxFrame, picture.frame);
    const mapped = numbers && mapBox(numbers, shown.boxFrame, picture.frame);
    if (!mapped) return null;
    const expected = { of: box.of, label: box.label, pixels: mapped.pixels.join() };
    const key = JSON.stringify([expected.of, expected.label, expected.pixels]);
    if (!framed.has(key)) framed.set(key, { box, numbers, expected });
  }
  return [...framed.values()];
}

interface Expected {
  of: ShownPicture['of'];
  label: string;
  pixels: string;
}

/** The text with the mark in it; of all places the first that is read back with the label too, else without. */
function place(
  text: string,
  mark: string,
  { of, label }: BoxToWrite,
  answer: string,
  written: Expected[],
  shown: PromptShown,
): string | null {
  let fair: string | null = null;
  for (const at of placesFor(text, label, of)) {
    for (const inserted of [` ${mark}`, mark]) {
      const candidate = text.slice(0, at) + inserted + text.slice(at);
      const read = parseAnswer(candidate, shown);
      const match = read.answer === answer ? matchOf(read, written) : 'none';
      if (match === 'labelled') return candidate;
      if (match === 'placed') fair ??= candidate;
    }
  }
  if (fair !== null) return fair;
  const named = `${text}\n${label}${of === 'question' ? '' : ` [${of}]`} ${mark}`;
  return matchOf(parseAnswer(named, shown), written) === 'none' ? null : named;
}

/**
 * Behind each naming of the label with its sources and marks, then behind the label alone, behind each naming of the source, and
 * at the end.
 */
function placesFor(text: string, label: string, of: ShownPicture['of']): number[] {
  const places: number[] = [];
  const follow = (pattern: RegExp, at: number): number => {
    pattern.lastIndex = at;
    return at + (pattern.exec(text)?.[0].length ?? 0);
  };
  const ends = label === '' ? [] : endsOf(text.toLowerCase(), label.toLowerCase());
  for (const end of ends) places.push(follow(SOURCES_AND_MARKS, end));
  places.push(...ends.map((end) => follow(MARKS, end)));
  if (of !== 'question') for (const end of endsOf(text, `[${of}]`)) places.push(follow(SOURCES_AND_MARKS, end));
  places.push(text.length);
  return [...new Set(places)].slice(0, MOST_PLACES);
}

const SOURCES_AND_MARKS = /(?:\s*\[\d{1,2}\])*(?:\s*\[\[[-\d.,]*\]\])*/y;
const MARKS = /(?:\s*\[\[[-\d.,]*\]\])*/y;

function endsOf(text: string, part: string): number[] {
  const ends: number[] = [];
  for (let at = text.indexOf(part); at >= 0 && ends.length < MOST_PLACES; at = text.indexOf(part, at + 1))
    ends.push(at + part.length);
  return ends;
}

/** Whether what is read back are these boxes, in whatever order, and no others. */
function matchOf({ boxes, images }: ParsedAnswer, written: Expected[]): 'labelled' | 'placed' | 'none' {
  if (boxes.length !== written.length) return 'none';
  const read = boxes.map(({ image, label, pixels }) => {
    const shown = images.find(({ n }) => n === image);
    return { of: shown?.citationId ?? 'question', label, pixels: pixels.join() };
  });
  const listOf = (all: { of: string; label: string; pixels: string }[], labels: boolean) =>
    all
      .map(({ of, label, pixels }) => JSON.stringify([of, pixels, labels && label.toLowerCase()]))
      .sort()
      .join();
  const expected = written.map((one) => ({ ...one, of: one.of === 'question' ? 'question' : `c${one.of}` }));
  if (listOf(read, false) !== listOf(expected, false)) return 'none';
  return listOf(read, true) === listOf(expected, true) ? 'labelled' : 'placed';
}
