import type { ReviewedQuestionView } from '@sightline/shared/contracts/feedback-http';
import { parseAnswer, type PromptShown } from '../grounding/parse-answer.ts';
import { letterboxFrame } from '../grounding/picture-frame.ts';
import { writeAnswer, writeAnswerJson } from '../grounding/write-answer.ts';
import { neutralise } from '../neutralise.ts';
import { settleReviews } from './settle-reviews.ts';

type PromptView = NonNullable<ReviewedQuestionView['prompt']>;
export type ExamplePicture = PromptView['pictures'][number];

/** A reviewed answer as an example to learn from. */
export interface LlavaExample {
  id: string;
  /** What the pipeline tells the model first; null for a plain question. */
  system: string | null;
  /** The message's parts; `<image>` stands for each picture, in their order. */
  human: string[];
  gpt: string;
  pictures: ExamplePicture[];
  /** The frame that boxes in `gpt` are written in. */
  boxFrame: PromptShown['boxFrame'];
  /**
   * What the answer rests on: items (assets where there is no item) and pictures, by `n`. Examples that share one are of one
   * side.
   */
  restsOn: { items: string[]; pictures: number[] };
  corrected: boolean;
  /** The review that it is taken from. */
  review: { reviewer: string; reviewedAt: string };
}

export type LeftOut =
  | 'reviews_disagree'
  | 'wrong_without_correction'
  | 'no_prompt'
  | 'no_words'
  | 'no_picture'
  | 'several_pictures'
  | 'no_answer'
  | 'correction_without_citation'
  | 'boxes_not_placed';

const IMAGE = '<image>';

/**
 * The example of a reviewed question, or why there is none. As the pipeline asks: its prompt word for word, and an answer in the
 * form that the prompt asks for. `plain`: the question alone over the one picture that the answer rests on, and the answer
 * without its citations.
 */
export function llavaExample(reviewed: ReviewedQuestionView, { plain }: { plain: boolean }): LlavaExample | { leftOut: LeftOut } {
  const { question, prompt } = reviewed;
  const settled = settleReviews(reviewed);
  if ('leftOut' in settled) return settled;
  if (!prompt) return { leftOut: 'no_prompt' };
  const { pictures: all } = prompt;
  // Sources are named by the parser's rule; in what it has read each stands as `[n]`.
  const read = parseAnswer(disarmed(settled.answer), shownOf(prompt, all, { plain: false, showSteps: reviewed.show_steps }));
  const boxes = settled.boxes.map((box) => ({ ...box, label: disarmed(box.label) }));
  const relied = new Set([...read.cited.map(({ n }) => n), ...boxes.map(({ source }) => source), 0]);
  const reliedPictures = all.filter(({ source }) => relied.has(source));
  const pictures = plain ? reliedPictures : all;
  if (pictures.length === 0) return { leftOut: 'no_picture' };
  if (plain && pictures.length > 1) return { leftOut: 'several_pictures' };
  if (plain && question.question.trim() === '') return { leftOut: 'no_words' };

  const shown = shownOf(prompt, pictures, { plain, showSteps: reviewed.show_steps });
  const toWrite = {
    answer: read.answer,
    boxes: boxes.map(({ source, ...box }) => ({ of: source === 0 || plain ? ('question' as const) : source, ...box })),
  };
  let gpt: string | null;
  if (prompt.structured && !plain) {
    // Whether a correction that names nothing says that the sources do not answer, nobody said.
    if (settled.corrected && read.cited.length === 0 && boxes.length === 0) return { leftOut: 'correction_without_citation' };
    const notFound = !settled.corrected && question.warnings.some((warning) => warning.startsWith('not_in_sources:'));
    gpt = writeAnswerJson({ ...toWrite, notFound }, shown);
  } else gpt = writeAnswer(toWrite, shown);
  if (gpt === null) return { leftOut: 'boxes_not_placed' };
  if (gpt.trim() === '') return { leftOut: 'no_answer' };
  const restsOn = prompt.sources.filter(({ n }) => relied.has(n));
  return {
    id: question.question_id,
    system: plain ? null : prompt.system,
    human: plain ? [IMAGE, neutralise(question.question).trim()] : humanTurn(prompt),
    gpt,
    pictures,
    boxFrame: shown.boxFrame,
    restsOn: {
      // An answer that cites nothing, such as "I do not know", is about what was found for it.
      items: (restsOn.length > 0 ? restsOn : prompt.sources.slice(0, 1)).map((source) => source.item_id ?? source.asset_id),
      pictures: (reliedPictures.length > 0 ? reliedPictures : prompt.pictures.slice(0, 1)).map(({ n }) => n),
    },
    corrected: settled.corrected,
    review: { reviewer: settled.by.reviewer, reviewedAt: settled.by.reviewed_at },
  };
}

/**
 * The parts of the prompt. What strangers wrote in them holds no place of a picture: it was disarmed when the prompt was built.
 */
function humanTurn(prompt: PromptView): string[] {
  return prompt.content.map((part) => (typeof part === 'string' ? part : IMAGE));
}

function shownOf(
  prompt: PromptView,
  pictures: ExamplePicture[],
  { plain, showSteps }: { plain: boolean; showSteps: boolean },
): PromptShown {
  return {
    sources: plain ? [] : prompt.sources.map(({ n }) => ({ n, citationId: `c${n}`, text: '' })),
    pictures: pictures.map(({ source, object, width_px: widthPx, height_px: heightPx, orientation }) => ({
      of: source === 0 || plain ? 'question' : source,
      object: { bucket: object.bucket, key: object.key, eTag: object.e_tag },
      frame: letterboxFrame({ widthPx, heightPx }, orientation, prompt.image_side_px),
    })),
    // No heading says the picture's own size in a plain turn, and what a trainer reads is the square.
    boxFrame: plain && prompt.box_frame === 'picture_pixels' ? 'square_pixels' : prompt.box_frame,
    showSteps,
  };
}

/** A reviewer's or a model's text that is no control token of a chat template and no place of a picture. */
function disarmed(text: string): string {
  return text.replaceAll(/<(?=[\p{L}|/!])/gu, '< ').replaceAll('|>', '| >');
}
