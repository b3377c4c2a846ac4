import { expect, test } from '@jest/globals';
import { scoreAnswer, type GivenAnswer } from './score-answer.ts';
import { newQuestion } from './testing/set-builder.ts';

const citation = (n: number, itemId: string) => ({
  citation_id: `c${n}`,
  asset_id: `asset-${itemId}`,
  item_id: itemId,
  object: { bucket: '/sets/one', key: `images/${itemId}.png` },
  title: itemId,
  relevance_score: 0.9,
  quote: null,
});

const box = (image: number, pixels: [number, number, number, number]) => ({
  image,
  label: 'pin',
  pixels,
  normalized: pixels,
  upright: pixels,
});

const picture = (n: number, citationId: string) => ({
  n,
  source: 'citation' as const,
  citation_id: citationId,
  href: '/',
  width_px: 100,
  height_px: 100,
  orientation: 1,
});

function given(more: Partial<GivenAnswer> = {}): GivenAnswer {
  return {
    status: 'answered',
    answer: 'It has 4 pins [1].',
    steps: null,
    no_match: false,
    citations: [citation(1, 'item-1')],
    boxes: [],
    images: [],
    warnings: [],
    ...more,
  };
}

test('an answer is scored by what it says and what it cites', () => {
  expect(scoreAnswer(newQuestion(), given())).toEqual({
    accuracy: 1,
    exact: 0,
    citation_precision: 1,
    citation_recall: 1,
    false_refusal: 0,
    failed: 0,
  });
  const two = given({ answer: '5 [1][2]', citations: [citation(1, 'item-1'), citation(2, 'item-2')] });
  expect(scoreAnswer(newQuestion(), two)).toMatchObject({ accuracy: 0, citation_precision: 0.5, citation_recall: 1 });
  const none = given({ answer: '4', citations: [] });
  expect(scoreAnswer(newQuestion(), none)).toEqual({ accuracy: 1, exact: 1, citation_recall: 0, false_refusal: 0, failed: 0 });
});

test('boxes count on the picture that shows the answer alone, each once, and those too many against precision', () => {
  const question = newQuestion({
    image: 'images/item-1.png',
    boxes: [
      { label: 'a', xyxy: [0, 0, 10, 10] },
      { label: 'b', xyxy: [20, 20, 30, 30] },
    ],
  });
  const images = [picture(1, 'c1'), picture(2, 'c2')];
  const citations = [citation(1, 'item-1'), citation(2, 'item-2')];
  // The first overlaps a by 80 of 100; the second touches b by 25 of 175; the third is right on another picture.
  const boxes = [box(1, [0, 0, 10, 8]), box(1, [25, 25, 35, 35]), box(2, [20, 20, 30, 30])];
  const scores = scoreAnswer(question, given({ boxes, images, citations }));
  expect(scores.box_iou50).toBe(0.5);
  expect(scores.box_iou).toBeCloseTo((0.8 + 25 / 175) / 2, 12);
  expect(scores.box_precision).toBeCloseTo(1 / 3, 12);
  expect(scoreAnswer(question, given({ images, citations }))).toMatchObject({ box_iou50: 0, box_iou: 0 });
  expect(scoreAnswer(question, given({ images, citations }))).not.toHaveProperty('box_precision');
});

test('not knowing is right where there is no answer, and wrong where there is one', () => {
  const unanswerable = newQuestion({ answer: undefined, item_id: undefined, unanswerable: true });
  const refusals = [
    given({ no_match: true, answer: 'I do not know.', citations: [] }),
    given({ warnings: ['not_in_sources: the model says so.'], citations: [] }),
    given({ answer: 'The sources do not say.', citations: [] }),
  ];
  for (const refusal of refusals) {
    expect(scoreAnswer(unanswerable, refusal)).toEqual({ refusal: 1, failed: 0 });
    expect(scoreAnswer(newQuestion(), refusal)).toMatchObject({ accuracy: 0, false_refusal: 1 });
  }
  expect(scoreAnswer(unanswerable, given())).toEqual({ refusal: 0, failed: 0 });
});

test('a question that failed is wrong and counted', () => {
  const failed = given({ status: 'failed', answer: null, citations: [] });
  expect(scoreAnswer(newQuestion(), failed)).toMatchObject({ accuracy: 0, failed: 1, false_refusal: 0 });
});

test('of an answer with steps the last one is the answer', () => {
  const steps = given({ answer: '1. ones: 3 + 2 = 5\n2. The sum is 15 [1].', steps: ['ones: 3 + 2 = 5', 'The sum is 15 [1].'] });
  const question = newQuestion({ question: 'What is the sum?', answer: '15', show_steps: true });
  expect(scoreAnswer(question, steps)).toMatchObject({ accuracy: 1 });
  expect(scoreAnswer({ ...question, show_steps: false }, steps)).toMatchObject({ accuracy: 0 });
});
