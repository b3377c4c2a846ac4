import type { AnswerBox, AnswerImage } from '@sightline/shared/contracts/questions';
import type { BoxFrame } from '../generator.ts';
import type { PictureFrame } from './picture-frame.ts';

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

/** Never throws: whatever a model writes becomes an answer. */
export function parseAnswer(_text: string, _shown: PromptShown): ParsedAnswer {
  throw new Error('to be written');
}
