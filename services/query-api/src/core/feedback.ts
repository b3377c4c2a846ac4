import type { FeedbackRequest, FeedbackView, ReviewedQuestionView } from '@sightline/shared/contracts/feedback-http';
import type { CorrectedBox, KeptPrompt, Review } from '@sightline/shared/contracts/feedback';
import type { AnswerImage } from '@sightline/shared/contracts/questions';
import { scanMarks } from '@sightline/shared/contracts/scan-marks';
import type { ReviewedQuestion } from '@sightline/shared/ports/feedback-ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { linksOf, questionView } from './question-view.ts';

/** A picture that a box can lie on: of `[source]`, or the question's own (0); its size as stored. */
type Shown = Pick<KeptPrompt['pictures'][number], 'source' | 'widthPx' | 'heightPx' | 'orientation'>;

/**
 * A request as the review that is kept. Only what the model was shown can be cited or carry a box; of an answer whose prompt is
 * not kept that is what it cites and shows itself. Error: `request_invalid`.
 */
export function reviewOf(
  { question, prompt }: ReviewedQuestion,
  said: FeedbackRequest,
  { reviewer, at }: { reviewer: string; at: number },
): Review {
  const given = new Set(sourcesOf({ question, prompt }).map(({ n }) => n));
  assertMarks(said.corrected_answer ?? '', given);
  const images = question.result?.images ?? [];
  const pictures = picturesOf({ question, prompt });
  const boxes = said.corrected_boxes?.map((box, i) => correctedBox(box, `corrected_boxes.${i}`, images, pictures));
  return {
    reviewer: said.reviewer ?? reviewer,
    verdict: said.verdict,
    correctedAnswer: said.corrected_answer ?? null,
    correctedBoxes: boxes ?? null,
    note: said.note ?? null,
    reviewedAt: at,
  };
}

/** By the rule by which answers are read. */
function assertMarks(text: string, given: ReadonlySet<number>): void {
  const refuse = (why: string) => new SightlineError('request_invalid', `corrected_answer: ${why}`);
  for (const piece of scanMarks(text, given)) {
    if (piece.kind === 'boxes') throw refuse('boxes go into corrected_boxes, not into the text.');
    if (piece.kind === 'cut') throw refuse('the mark at its end is not closed.');
    if (piece.kind !== 'citation') continue;
    const strange = piece.numbers.find((n) => !given.has(n));
    if (strange !== undefined) throw refuse(`the model was shown no source [${strange}].`);
  }
}

function correctedBox(
  { image, source, label, pixels, normalized }: NonNullable<FeedbackRequest['corrected_boxes']>[number],
  field: string,
  images: AnswerImage[],
  pictures: Shown[],
): CorrectedBox {
  const of = source ?? sourceOf(images.find(({ n }) => n === image));
  const picture = pictures.find((one) => one.source === of);
  if (!picture) throw new SightlineError('request_invalid', `${field}: the model was not shown that picture.`);
  const { widthPx, heightPx } = picture;
  const sides = [widthPx, heightPx, widthPx, heightPx];
  const box = pixels ?? (normalized?.map((value, i) => Math.round(value * (sides[i] ?? 0))) as CorrectedBox['pixels']);
  const [left, top, right, bottom] = box;
  if (right > widthPx || bottom > heightPx || left >= right || top >= bottom)
    throw new SightlineError('request_invalid', `${field}: no box within the picture, which is ${widthPx} x ${heightPx}.`);
  return { source: picture.source, label, pixels: box };
}

export function feedbackView(reviewed: ReviewedQuestion): FeedbackView {
  return {
    question_id: reviewed.question.questionId,
    reviews: reviewed.reviews.map(reviewView),
    sources: sourcesOf(reviewed),
    pictures: picturesOf(reviewed).map(({ source, widthPx, heightPx, orientation }) => ({
      source,
      width_px: widthPx,
      height_px: heightPx,
      orientation,
    })),
  };
}

export function reviewedView({ question, reviews, prompt }: ReviewedQuestion): ReviewedQuestionView {
  return {
    question: questionView(question),
    show_steps: question.asked.showSteps,
    adapter: question.asked.adapter,
    reviews: reviews.map(reviewView),
    prompt: prompt && {
      system: prompt.system,
      content: prompt.content.map((part) => (typeof part === 'number' ? { picture: part + 1 } : part)),
      sources: sourcesOf({ question, prompt }),
      pictures: prompt.pictures.map(({ source, object: { bucket, key, eTag }, widthPx, heightPx, orientation }, i) => ({
        n: i + 1,
        source,
        object: { bucket, key, e_tag: eTag },
        href: `${linksOf(question.questionId).self}/prompt/pictures/${i + 1}`,
        width_px: widthPx,
        height_px: heightPx,
        orientation,
      })),
      box_frame: prompt.boxFrame,
      image_side_px: prompt.imageSidePx,
      structured: prompt.structured,
    },
  };
}

function reviewView({ reviewer, verdict, correctedAnswer, correctedBoxes, note, reviewedAt }: Review) {
  return {
    reviewer,
    verdict,
    corrected_answer: correctedAnswer,
    corrected_boxes: correctedBoxes,
    note,
    reviewed_at: new Date(reviewedAt).toISOString(),
  };
}

function sourcesOf({ question, prompt }: Pick<ReviewedQuestion, 'question' | 'prompt'>): FeedbackView['sources'] {
  const given = prompt?.sources ?? question.result?.citations.map((cited) => ({ ...cited, n: numberOf(cited.citationId) })) ?? [];
  return given.map(({ n, assetId, itemId, title }) => ({ n, asset_id: assetId, item_id: itemId, title }));
}

function picturesOf({ question, prompt }: Pick<ReviewedQuestion, 'question' | 'prompt'>): Shown[] {
  return prompt?.pictures ?? question.result?.images.map((image) => ({ ...image, source: sourceOf(image) ?? 0 })) ?? [];
}

/** The number of the source whose picture it is; 0 for the question's own. */
function sourceOf(image: AnswerImage | undefined): number | null {
  if (!image) return null;
  return image.citationId === null ? 0 : numberOf(image.citationId);
}

/** `c2` is what the answer calls `[2]`. */
function numberOf(citationId: string): number {
  return Number(citationId.slice(1));
}
