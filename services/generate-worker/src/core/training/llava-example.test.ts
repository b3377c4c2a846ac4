import { expect, test } from '@jest/globals';
import { reviewedQuestion, type ReviewedQuestionView } from '@sightline/shared/contracts/feedback-http';
import { llavaExample } from './llava-example.ts';

type Review = ReviewedQuestionView['reviews'][number];

const right: Review = {
  reviewer: 'ann',
  verdict: 'right',
  corrected_answer: null,
  corrected_boxes: null,
  note: null,
  reviewed_at: '2026-11-01T00:00:00.000Z',
};
const wrong = (more: Partial<Review>): Review => ({ ...right, verdict: 'wrong', ...more });
const picture = (n: number, source: number) => ({
  n,
  source,
  object: { bucket: 'b', key: `${n}.png`, e_tag: 'e' },
  href: `/v1/questions/q1/prompt/pictures/${n}`,
  width_px: 400,
  height_px: 200,
  orientation: 1,
});
const prompt: NonNullable<ReviewedQuestionView['prompt']> = {
  system: 'Answer from the sources.',
  content: ['Source [1]\nCooler', 'Picture of source [1]:', { picture: 1 }, 'Source [2]\nFan', 'Question:\nWhat fits?'],
  sources: [
    { n: 1, asset_id: 'asset-1', item_id: 'item-1', title: 'Cooler' },
    { n: 2, asset_id: 'asset-2', item_id: null, title: 'Fan' },
  ],
  pictures: [picture(1, 1)],
  box_frame: 'square_pixels',
  image_side_px: 100,
  structured: false,
};

function reviewed(
  more: {
    answer?: string;
    reviews?: Review[];
    prompt?: ReviewedQuestionView['prompt'];
    boxes?: ReviewedQuestionView['question']['boxes'];
    warnings?: string[];
  } = {},
): ReviewedQuestionView {
  const box = { image: 1, label: 'socket AM5', pixels: [40, 20, 120, 140], normalized: [0, 0, 1, 1], upright: [0, 0, 1, 1] };
  return reviewedQuestion.parse({
    question: {
      question_id: 'q1',
      status: 'answered',
      question: 'What <image> fits?',
      created_at: '2026-10-31T00:00:00Z',
      finished_at: '2026-10-31T00:00:01Z',
      error: null,
      answer: more.answer ?? 'It fits socket AM5 [1].',
      steps: null,
      no_match: false,
      citations: [],
      boxes: more.boxes ?? [box],
      images: [{ n: 1, source: 'citation', citation_id: 'c1', href: '', width_px: 400, height_px: 200, orientation: 1 }],
      claims: [],
      stale: false,
      model: 'm',
      prompt_version: 'v',
      warnings: more.warnings ?? [],
      timings_ms: null,
      usage: null,
      metadata: {},
      links: { self: '', events: '' },
    },
    show_steps: false,
    adapter: null,
    reviews: more.reviews ?? [right],
    prompt: more.prompt === undefined ? prompt : more.prompt,
  });
}
const pipeline = (...of: Parameters<typeof reviewed>) => llavaExample(reviewed(...of), { plain: false });
const plain = (...of: Parameters<typeof reviewed>) => llavaExample(reviewed(...of), { plain: true });

test('a right answer becomes the prompt as it was and the answer as a model writes it', () => {
  expect(pipeline()).toEqual({
    id: 'q1',
    system: 'Answer from the sources.',
    human: ['Source [1]\nCooler', 'Picture of source [1]:', '<image>', 'Source [2]\nFan', 'Question:\nWhat fits?'],
    gpt: 'It fits socket AM5 [1] [[10,30,30,60]].',
    pictures: prompt.pictures,
    boxFrame: 'square_pixels',
    restsOn: { items: ['item-1'], pictures: [1] },
    corrected: false,
    review: { reviewer: 'ann', reviewedAt: '2026-11-01T00:00:00.000Z' },
  });
});

test('a plain question has the one picture that its answer rests on, no sources and no citations', () => {
  expect(plain()).toMatchObject({
    system: null,
    human: ['<image>', 'What < image> fits?'],
    gpt: 'It fits socket AM5 [[10,30,30,60]].',
  });
  const both = { ...prompt, pictures: [picture(1, 1), picture(2, 2)] };
  expect(plain({ prompt: both })).toMatchObject({ pictures: [picture(1, 1)] });
  expect(plain({ prompt: both, answer: 'Both do [1][2].' })).toEqual({ leftOut: 'several_pictures' });
  expect(plain({ answer: 'A fan does [2].', boxes: [] })).toEqual({ leftOut: 'no_picture' });
});

test('a wrong answer becomes its newest correction, or nothing', () => {
  const boxes = [{ source: 1, label: 'AM4', pixels: [200, 0, 240, 40] as [number, number, number, number] }];
  expect(pipeline({ reviews: [wrong({})] })).toEqual({ leftOut: 'wrong_without_correction' });
  expect(pipeline({ reviews: [wrong({}), right] })).toEqual({ leftOut: 'reviews_disagree' });
  expect(pipeline({ reviews: [] })).toEqual({ leftOut: 'reviews_disagree' });
  const reviews = [
    wrong({ corrected_answer: 'Old [1].' }),
    wrong({ corrected_answer: 'It fits AM4 [1].', corrected_boxes: boxes, reviewer: 'bob' }),
    wrong({}),
  ];
  expect(pipeline({ reviews })).toMatchObject({
    gpt: 'It fits AM4 [1] [[50,25,60,35]].',
    corrected: true,
    review: { reviewer: 'bob' },
  });
  // Boxes of a wrong answer are not known to be right; text of one whose boxes alone are wrong is.
  expect(pipeline({ reviews: [wrong({ corrected_answer: 'It fits AM4 [1].' })] })).toMatchObject({ gpt: 'It fits AM4 [1].' });
  expect(pipeline({ reviews: [wrong({ corrected_boxes: [{ ...boxes[0]!, label: 'socket AM5' }] })] })).toMatchObject({
    gpt: 'It fits socket AM5 [1] [[50,25,60,35]].',
  });
});

test('an answer that rests on nothing is about what was found for it', () => {
  expect(pipeline({ answer: 'The sources do not say.', boxes: [] })).toMatchObject({
    restsOn: { items: ['item-1'], pictures: [1] },
  });
  expect(pipeline({ answer: 'A fan does [2].', boxes: [] })).toMatchObject({ restsOn: { items: ['asset-2'] } });
});

test('where the prompt asks for JSON, the answer is that', () => {
  const made = pipeline({ prompt: { ...prompt, structured: true } });
  expect(JSON.parse((made as { gpt: string }).gpt)).toEqual({
    answer: 'It fits socket AM5 [1].',
    boxes: [{ image: 1, label: 'socket AM5', box: [10, 30, 30, 60] }],
    not_found: false,
  });
  const structured = { ...prompt, structured: true };
  const told = (...of: Parameters<typeof reviewed>) =>
    JSON.parse((pipeline({ prompt: structured, ...of[0] }) as { gpt: string }).gpt) as Record<string, unknown>;
  // That the sources do not answer is what the model said, not what names no source.
  const unanswered = { answer: 'The sources do not say.', boxes: [], warnings: ['not_in_sources: the model says so.'] };
  expect(told(unanswered)).toEqual({ answer: 'The sources do not say.', not_found: true });
  expect(told({ answer: 'It is blue.', boxes: [] })).toEqual({ answer: 'It is blue.', not_found: false });
  const correction = (text: string) => ({ ...unanswered, reviews: [wrong({ corrected_answer: text })] });
  expect(told(correction('It is blue [1].'))).toEqual({ answer: 'It is blue [1].', not_found: false });
  expect(pipeline({ prompt: structured, ...correction('It is blue.') })).toEqual({ leftOut: 'correction_without_citation' });
  const elsewhere = [{ source: 2, label: 'AM4', pixels: [200, 0, 240, 40] as [number, number, number, number] }];
  const reviews = [wrong({ corrected_answer: 'It is blue [1].', corrected_boxes: elsewhere })];
  expect(pipeline({ prompt: structured, reviews })).toEqual({ leftOut: 'boxes_not_placed' });
});

test('boxes of a plain question are of the square that is exported, whatever the prompt said of sizes', () => {
  const sized = { ...prompt, box_frame: 'picture_pixels' as const };
  expect(pipeline({ prompt: sized })).toMatchObject({
    gpt: 'It fits socket AM5 [1] [[40,20,120,140]].',
    boxFrame: 'picture_pixels',
  });
  expect(plain({ prompt: sized })).toMatchObject({ gpt: 'It fits socket AM5 [[10,30,30,60]].', boxFrame: 'square_pixels' });
  expect(plain({ prompt: { ...prompt, box_frame: 'thousand' } })).toMatchObject({ boxFrame: 'thousand' });
});

test('sources are named as the parser reads them, and an answer that is nothing else leaves nothing to a plain question', () => {
  const both = { ...prompt, pictures: [picture(1, 1), picture(2, 2)] };
  for (const answer of ['Both do [1, 2].', 'Both do 【1】[source 2].']) {
    expect(plain({ prompt: both, answer })).toEqual({ leftOut: 'several_pictures' });
    expect(pipeline({ answer, boxes: [] })).toMatchObject({
      gpt: 'Both do [1][2].',
      restsOn: { items: ['item-1', 'asset-2'] },
    });
  }
  expect(plain({ answer: '[1]', boxes: [] })).toEqual({ leftOut: 'no_answer' });
});

test('what would be a control token or a picture to a trainer is disarmed', () => {
  const made = pipeline({ reviews: [wrong({ corrected_answer: 'x <image> <|im_end|> </s> but 3 < 4 [1].' })] });
  expect(made).toMatchObject({ gpt: 'x < image> < |im_end| > < /s> but 3 < 4 [1].' });
});

test('without the prompt there is nothing to learn from', () => {
  expect(pipeline({ prompt: null })).toEqual({ leftOut: 'no_prompt' });
  expect(pipeline({ prompt: { ...prompt, pictures: [] }, boxes: [] })).toEqual({ leftOut: 'no_picture' });
});
