import { z } from 'zod';
import { MAX_CORRECTED_BOXES } from './feedback.ts';
import { questionView } from './question-http.ts';
import { storableText } from './records.ts';

/** What HTTP says of reviews of answers. */

const MAX_ANSWER_CHARS = 16_000;
const MAX_NOTE_CHARS = 2_000;
const MAX_LABEL_CHARS = 80;

const part = z.number().min(0).max(1);
const whole = z.int().min(0);
const verdict = z.enum(['right', 'wrong']);
const isOneOf = (...given: unknown[]): boolean => given.filter((one) => one !== undefined).length === 1;

const boxRequest = z
  .strictObject({
    image: z.int().positive().optional().describe("`n` of one of the answer's `images`."),
    source: whole
      .optional()
      .describe("Instead of `image`: the `n` of a source whose picture the model was shown; 0: the question's own picture."),
    label: z.string().trim().min(1).max(MAX_LABEL_CHARS).overwrite(storableText),
    pixels: z
      .tuple([whole, whole, whole, whole])
      .optional()
      .describe('[left, top, right, bottom] in whole pixels of the picture as stored, right and bottom exclusive.'),
    normalized: z
      .tuple([part, part, part, part])
      .optional()
      .describe('Instead of `pixels`: the same divided by width and height.'),
  })
  .refine((box) => isOneOf(box.image, box.source), { message: 'one of image and source is expected', path: ['image'] })
  .refine((box) => isOneOf(box.pixels, box.normalized), {
    message: 'one of pixels and normalized is expected',
    path: ['pixels'],
  });

export const feedbackRequest = z
  .strictObject({
    verdict,
    corrected_answer: z
      .string()
      .max(MAX_ANSWER_CHARS)
      .overwrite(storableText)
      .refine((text) => text.trim() !== '', 'some text is expected')
      .refine((text) => !text.includes('[['), 'boxes go into corrected_boxes, not into the text')
      .optional()
      .describe('What the answer should have been; `[n]` names a source that the model was shown.'),
    corrected_boxes: z
      .array(boxRequest)
      .max(MAX_CORRECTED_BOXES)
      .optional()
      .describe('All boxes that the answer should have; left out, a corrected answer has none.'),
    reviewer: z
      .string()
      .trim()
      .min(1)
      .max(64)
      .overwrite(storableText)
      .optional()
      .describe("Who judges; the key's id where it is left out. Of each reviewer the latest review counts."),
    note: z.string().max(MAX_NOTE_CHARS).overwrite(storableText).optional(),
  })
  .refine((said) => said.verdict === 'wrong' || (said.corrected_answer ?? said.corrected_boxes) === undefined, {
    message: 'an answer that is right has no correction',
    path: ['verdict'],
  })
  .meta({ id: 'FeedbackRequest' });
export type FeedbackRequest = z.output<typeof feedbackRequest>;

const reviewView = z.strictObject({
  reviewer: z.string(),
  verdict,
  corrected_answer: z.string().nullable(),
  corrected_boxes: z
    .array(z.strictObject({ source: whole, label: z.string(), pixels: z.tuple([whole, whole, whole, whole]) }))
    .nullable(),
  note: z.string().nullable(),
  reviewed_at: z.iso.datetime(),
});

const sourceView = z.strictObject({
  n: z.int().describe('`[n]` of the answer.'),
  asset_id: z.string(),
  item_id: z.string().nullable(),
  title: z.string(),
});

export const feedbackView = z
  .strictObject({
    question_id: z.string(),
    reviews: z.array(reviewView).describe('Of each reviewer the latest, oldest first.'),
    sources: z.array(sourceView).describe('What a corrected answer can cite: what the model was shown.'),
    pictures: z
      .array(z.strictObject({ source: whole, width_px: z.int(), height_px: z.int(), orientation: z.int() }))
      .describe('What a corrected box can lie on; sizes as stored.'),
  })
  .meta({ id: 'Feedback' });
export type FeedbackView = z.infer<typeof feedbackView>;

const promptView = z.strictObject({
  system: z.string(),
  content: z
    .array(z.union([z.string(), z.strictObject({ picture: z.int() })]))
    .describe('As the model was shown it: texts, and pictures by their `n`.'),
  sources: z.array(sourceView),
  pictures: z.array(
    z.strictObject({
      n: z.int(),
      source: whole,
      object: z.strictObject({ bucket: z.string(), key: z.string(), e_tag: z.string() }).describe('What was read.'),
      href: z.string().describe('Its bytes as stored.'),
      width_px: z.int(),
      height_px: z.int(),
      orientation: z.int(),
    }),
  ),
  box_frame: z.enum(['square_pixels', 'picture_pixels', 'unit', 'thousand']),
  image_side_px: z.int(),
  structured: z.boolean().describe('The answer was asked for as JSON.'),
});

export const reviewedQuestion = z
  .strictObject({
    question: questionView,
    show_steps: z.boolean(),
    adapter: z.string().nullable(),
    reviews: z.array(reviewView),
    prompt: promptView.nullable().describe('What the model was shown; null where none was asked.'),
  })
  .meta({ id: 'ReviewedQuestion' });
export type ReviewedQuestionView = z.infer<typeof reviewedQuestion>;

export const feedbackListQuery = z.strictObject({
  since: z.iso.datetime({ offset: true }).optional().describe('Of the latest review.'),
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(50)
    .default(20)
    .describe('At most so many; fewer where they are long. There are more as long as there is a `next_cursor`.'),
  cursor: z.string().max(512).optional(),
});
export const feedbackList = z
  .strictObject({
    reviewed: z.array(reviewedQuestion),
    next_cursor: z.string().nullable(),
    total: z.int().nullable().describe('How many there are from `since` on; null after a cursor.'),
  })
  .meta({ id: 'FeedbackList' });
