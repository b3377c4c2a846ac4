import type { AnswerBox, AnswerImage } from '@sightline/shared/contracts/questions';
import type { BoxFrame } from '../generator.ts';
import { cutDebris } from './answer-debris.ts';
import { readAnswerJson, type JsonBox } from './answer-schema.ts';
import { cleanLabel } from './box-label.ts';
import { mapBox, type PictureFrame } from './picture-frame.ts';
import { findQuote } from './quote.ts';
import { MAX_BOXES, readMarks, type WrittenBox } from './read-marks.ts';
import { splitSentences } from './sentences.ts';
import { numberSteps, withSteps } from './steps.ts';
import { tidySeams } from './tidy-text.ts';

/** A source that the prompt gave as `[n]`. */
export interface AnswerSource {
  n: number;
  citationId: string;
  /** What the prompt showed of its words; empty where it has none. Quotes are spans of it. */
  text: string;
}

/** A picture that the prompt showed, in the order of the prompt: the first is its picture 1. */
export interface ShownPicture {
  /** `question`, or the `n` of its source. */
  of: 'question' | number;
  object: AnswerImage['object'];
  frame: PictureFrame;
}

export interface PromptShown {
  sources: AnswerSource[];
  pictures: ShownPicture[];
  boxFrame: BoxFrame;
  showSteps: boolean;
}

export interface ParsedAnswer {
  /** Without marks of boxes; `[n]` names source n, and only sources that were given. */
  answer: string;
  /** With `showSteps`, where the answer has any. */
  steps: string[] | null;
  /** Sources that the answer names, in the order it does, each with the span that carries what is said (null without words). */
  cited: { n: number; citationId: string; quote: string | null }[];
  boxes: AnswerBox[];
  /** Pictures that were shown and carry a box or are cited; the question's first. */
  images: AnswerImage[];
  /** The model said, in its JSON, that the sources do not answer. */
  notFound: boolean;
  /** How much of what the model wrote was cut, for metrics. */
  dropped: { citations: number; boxes: number };
  /** Each a code, a colon, and what it means. */
  warnings: string[];
}

/**
 * From a model's text, or JSON after ANSWER_SCHEMA, to an answer with its citations, boxes and pictures. Never throws: whatever a model
 * writes becomes an answer. Only what the prompt gave can be cited, and every box lies within a picture that the prompt showed.
 */
export function parseAnswer(text: string, shown: PromptShown): ParsedAnswer {
  const plain = cutDebris(text.toWellFormed().replace(/[\u0000\ue000]/g, ''));
  const json = readAnswerJson(plain);
  const given = new Set(shown.sources.map(({ n }) => n));
  const body = json ? (shown.showSteps ? withSteps(json.steps, json.answer) : json.answer || withSteps(json.steps, '')) : plain;
  const read = readMarks(
    cutDebris(body),
    given,
    shown.pictures.map(({ of }) => of),
  );
  const answer = tidySeams(read.text);
  const named = [...new Set(read.named.map(({ n }) => n))];
  const jsonCited = new Set((json?.citations ?? []).filter((n) => given.has(n)));
  const dropped = {
    citations: read.droppedCitations + (json?.citations ?? []).filter((n) => !given.has(n)).length,
    boxes: read.droppedBoxes,
  };
  // Sources that JSON lists apart are those of the whole answer where it names none within.
  const withCited = named.length === 0 && answer !== '' ? appendMarks(answer, [...jsonCited]) : answer;
  const numbered = shown.showSteps ? numberSteps(withCited) : null;
  const final = numbered?.text ?? withCited;
  const written = [...read.boxes, ...(json?.boxes ?? []).map((box) => jsonBox(box, shown.pictures))];
  const placed = placeBoxes(written, shown);
  dropped.boxes += placed.dropped + placed.withoutPicture;
  const cited = [...new Set([...named, ...jsonCited])];
  const { images, numbers } = listImages(shown, cited, new Set(placed.boxes.map(({ picture }) => picture)));
  const notFound = json?.notFound ?? false;
  return {
    answer: final,
    steps: numbered?.steps ?? null,
    cited: quoteCited(final, cited, shown.sources),
    boxes: placed.boxes.map(({ picture, box }) => ({ image: numbers.get(picture)!, ...box })),
    images,
    notFound,
    dropped,
    warnings: warningsOf({ dropped, placed, isUncited: cited.length === 0 && given.size > 0 && !notFound && final !== '' }),
  };
}

/** 0 is the question's picture, a number its source's; one that no source with a picture has is a place in the prompt. */
function jsonBox({ image, label, box }: JsonBox, pictures: ShownPicture[]): WrittenBox {
  const indexOf = (of: ShownPicture['of']) => pictures.findIndex((picture) => picture.of === of);
  const otherwise = indexOf('question') < 0 && pictures.length === 1 ? 0 : indexOf('question');
  let picture = otherwise;
  if (typeof image === 'number') picture = image === 0 ? indexOf('question') : indexOf(image) < 0 ? image - 1 : indexOf(image);
  else if (image !== null) picture = indexOf(image.source);
  return { picture: pictures[picture] ? picture : null, label: cleanLabel(label), box };
}

function placeBoxes(written: WrittenBox[], shown: PromptShown) {
  const boxes: { picture: number; box: Omit<AnswerBox, 'image'> }[] = [];
  const seen = new Set<string>();
  let [withoutPicture, dropped] = [0, 0];
  for (const { picture, label, box } of written) {
    if (picture === null) {
      withoutPicture++;
      continue;
    }
    const mapped = mapBox(box, shown.boxFrame, shown.pictures[picture]!.frame);
    const key = JSON.stringify([picture, label, mapped?.pixels]);
    if (mapped && seen.has(key)) continue;
    seen.add(key);
    if (mapped && boxes.length < MAX_BOXES) boxes.push({ picture, box: { label, ...mapped } });
    else dropped++;
  }
  return { boxes, withoutPicture, dropped };
}

/** The question's picture first, then those of sources in the prompt's order. */
function listImages(shown: PromptShown, cited: number[], boxed: Set<number>) {
  const ids = new Map(shown.sources.map(({ n, citationId }) => [n, citationId]));
  const kept = shown.pictures
    .map((picture, index) => ({ picture, index }))
    .filter(({ picture: { of }, index }) => boxed.has(index) || (of !== 'question' && cited.includes(of)))
    .sort((a, b) => Number(b.picture.of === 'question') - Number(a.picture.of === 'question') || a.index - b.index);
  const numbers = new Map(kept.map(({ index }, i) => [index, i + 1]));
  const images = kept.map(({ picture: { of, object, frame } }, i): AnswerImage => {
    const citationId = of === 'question' ? null : (ids.get(of) ?? null);
    const { widthPx, heightPx, orientation } = frame;
    return { n: i + 1, source: of === 'question' ? 'question' : 'citation', citationId, object, widthPx, heightPx, orientation };
  });
  return { images, numbers };
}

function quoteCited(answer: string, cited: number[], sources: AnswerSource[]): ParsedAnswer['cited'] {
  const sentences = splitSentences(answer).map(({ text }) => text);
  return cited.map((n) => {
    const { citationId, text } = sources.find((source) => source.n === n)!;
    const citing = sentences.filter((sentence) => sentence.includes(`[${n}]`));
    return { n, citationId, quote: findQuote(citing.length > 0 ? citing : sentences, text) };
  });
}

function appendMarks(answer: string, cited: number[]): string {
  return cited.length === 0 ? answer : `${answer} ${cited.map((n) => `[${n}]`).join('')}`;
}

function warningsOf(found: {
  dropped: ParsedAnswer['dropped'];
  placed: { withoutPicture: number; dropped: number };
  isUncited: boolean;
}): string[] {
  const { dropped, placed } = found;
  const outside = dropped.boxes - placed.withoutPicture;
  return [
    found.isUncited && 'no_citations: The answer names none of its sources.',
    dropped.citations > 0 && `citations_dropped: Named, but not given as sources: ${dropped.citations}.`,
    placed.withoutPicture > 0 && `box_without_picture: Boxes on no picture that can be told: ${placed.withoutPicture}.`,
    outside > 0 && `boxes_dropped: Boxes that are malformed, too many, or outside of their picture: ${outside}.`,
  ].filter((warning) => warning !== false);
}
