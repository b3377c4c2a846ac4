import type { QuestionView } from '@sightline/shared/contracts/question-http';
import { pairBoxes, SAME_BOX_IOU, type Box } from './box-overlap.ts';
import { matchesExactly, matchesNormalised, soundsLikeRefusal } from './answer-match.ts';
import { answersOf, type SetQuestion } from './question-set.ts';

/** Part of a question as GET answers it that an answer is scored by. */
export type GivenAnswer = Pick<
  QuestionView,
  'status' | 'answer' | 'steps' | 'no_match' | 'citations' | 'boxes' | 'images' | 'warnings'
>;

/** Each from 0 to 1; a name that is missing does not apply to the question. */
export type AnswerScores = Partial<
  Record<
    | 'accuracy'
    | 'exact'
    | 'box_iou50'
    | 'box_iou'
    | 'box_precision'
    | 'citation_precision'
    | 'citation_recall'
    | 'refusal'
    | 'false_refusal'
    | 'failed',
    number
  >
>;

const is = (condition: boolean): number => (condition ? 1 : 0);

/**
 * - `accuracy`, `exact`: the answer says what the reference says (normalised; letter by letter).
 * - `box_iou50`: the share of the reference's boxes that a box of the answer on the same picture overlaps with an IoU of at least 0.5, each given
 *   box used once; `box_iou` their mean overlap; `box_precision` the share of given boxes that were so used.
 * - `citation_precision`: the share of cited items that have the answer, where any is cited; `citation_recall`: the item that has it is cited.
 * - `refusal` of a question that has no answer, `false_refusal` of one that has.
 * - `failed`: the question ended without an answer; it counts as wrong.
 */
export function scoreAnswer(question: SetQuestion, given: GivenAnswer): AnswerScores {
  const failed = given.status !== 'answered';
  const refused = isRefusal(given);
  if (question.unanswerable) return { refusal: is(refused), failed: is(failed) };
  // In whichever language it was asked, its codes may be repeated.
  const reference = { question: [question.question, question.question_zh ?? ''].join(' '), answers: answersOf(question) };
  const said = (question.show_steps ? given.steps?.at(-1) : null) ?? given.answer ?? '';
  const isRight = !failed && !refused && matchesNormalised(said, reference);
  const isExact = !failed && !refused && matchesExactly(said, reference);
  return {
    accuracy: is(isRight || isExact),
    exact: is(isExact),
    ...boxScores(question, given),
    ...citationScores(question, given),
    false_refusal: is(refused),
    failed: is(failed),
  };
}

/** The product says so, or the model does in its own words and cites nothing. */
function isRefusal({ no_match: noMatch, warnings, citations, boxes, answer }: GivenAnswer): boolean {
  if (noMatch || warnings.some((warning) => warning.startsWith('not_in_sources:'))) return true;
  return answer !== null && citations.length === 0 && boxes.length === 0 && soundsLikeRefusal(answer);
}

function boxScores(question: SetQuestion, given: GivenAnswer): AnswerScores {
  if (question.boxes.length === 0) return {};
  const expected: Box[] = question.boxes.map(({ xyxy }) => xyxy);
  const right = given.boxes.filter(({ image }) => isPicture(question, given, image));
  const overlaps = pairBoxes(
    expected,
    right.map(({ pixels }) => pixels),
  );
  const found = overlaps.filter((overlap) => overlap >= SAME_BOX_IOU).length;
  return {
    box_iou50: found / expected.length,
    box_iou: overlaps.reduce((sum, overlap) => sum + overlap, 0) / expected.length,
    ...(given.boxes.length > 0 && { box_precision: found / given.boxes.length }),
  };
}

/** The answer's picture is the one that shows the answer. */
function isPicture({ image: path, item_id: itemId }: SetQuestion, given: GivenAnswer, n: number): boolean {
  const image = given.images.find((one) => one.n === n);
  const citation = given.citations.find((one) => one.citation_id === image?.citation_id);
  if (!citation) return false;
  if (path === undefined) return citation.item_id === itemId;
  return citation.object !== null && (citation.object.key === path || citation.object.key.endsWith(`/${path}`));
}

function citationScores({ item_id: itemId }: SetQuestion, { citations }: GivenAnswer): AnswerScores {
  const cited = new Set(citations.map(({ item_id: item, asset_id: asset }) => item ?? asset));
  const isCited = itemId !== undefined && cited.has(itemId);
  return { ...(cited.size > 0 && { citation_precision: is(isCited) / cited.size }), citation_recall: is(isCited) };
}
