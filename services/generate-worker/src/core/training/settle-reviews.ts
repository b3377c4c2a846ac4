import type { ReviewedQuestionView } from '@sightline/shared/contracts/feedback-http';

type ReviewView = ReviewedQuestionView['reviews'][number];

/** The answer that reviewers hold to be right: its text and boxes, or why there is none. */
export type Settled =
  | {
      answer: string;
      boxes: { source: number; label: string; pixels: [number, number, number, number] }[];
      corrected: boolean;
      by: ReviewView;
    }
  | { leftOut: 'reviews_disagree' | 'wrong_without_correction' };

/**
 * Of each reviewer there is one review. All must be of one verdict. Right: the answer as it stands. Wrong: the newest correction;
 * one of boxes alone keeps the text, and one of the text alone has no boxes, because those of a wrong answer are not known to be
 * right.
 */
export function settleReviews({ question, reviews }: Pick<ReviewedQuestionView, 'question' | 'reviews'>): Settled {
  const verdicts = new Set(reviews.map(({ verdict }) => verdict));
  if (verdicts.size !== 1) return { leftOut: 'reviews_disagree' };
  const answer = question.answer ?? '';
  const newest = reviews.at(-1);
  if (newest?.verdict === 'right') {
    const sources = new Map(question.images.map(({ n, citation_id: id }) => [n, id === null ? 0 : Number(id.slice(1))]));
    const boxes = question.boxes.map(({ image, label, pixels }) => ({ source: sources.get(image) ?? 0, label, pixels }));
    return { answer, boxes, corrected: false, by: newest };
  }
  const by = reviews.findLast((one) => one.corrected_answer !== null || one.corrected_boxes !== null);
  if (!by) return { leftOut: 'wrong_without_correction' };
  return { answer: by.corrected_answer ?? answer, boxes: by.corrected_boxes ?? [], corrected: true, by };
}
