import { z } from 'zod';

/**
 * What a model was shown for an answer, and what reviewers say of it, as they are kept with the question. Times in Unix
 * milliseconds.
 */

/** So many reviewers' verdicts are kept of one question. */
export const MAX_REVIEWS = 32;
/** A page of reviewed questions ends, whatever was asked for, once it holds so much, counted in characters of its JSON. */
export const REVIEWED_PAGE_CHARS = 2 * 1024 * 1024;
/** So many boxes a correction may have: as many as an answer. */
export const MAX_CORRECTED_BOXES = 64;

const whole = z.int().min(0);

/** A picture of the prompt, in the prompt's order. */
export const promptPicture = z.strictObject({
  /** `[n]` of the source whose picture it is; 0: the question's own. */
  source: whole,
  /** Where its bytes are; `eTag` of what was read. */
  object: z.strictObject({ bucket: z.string(), key: z.string(), eTag: z.string() }),
  /** As stored. */
  widthPx: z.int().positive(),
  heightPx: z.int().positive(),
  /** EXIF orientation, 1 to 8. */
  orientation: z.int().min(1).max(8),
});
export type PromptPicture = z.infer<typeof promptPicture>;

/** The prompt of an answer, word for word. */
export const keptPrompt = z.strictObject({
  system: z.string(),
  /** Texts, and pictures by their place in `pictures`, from 0, in the order in which the model was shown them. */
  content: z.array(z.union([z.string(), whole])),
  /** What the answer could cite. */
  sources: z.array(
    z.strictObject({ n: z.int().positive(), assetId: z.string(), itemId: z.string().nullable(), title: z.string() }),
  ),
  pictures: z.array(promptPicture),
  /** The frame that boxes are written in, and the side of the square that each picture was letterboxed to. */
  boxFrame: z.enum(['square_pixels', 'picture_pixels', 'unit', 'thousand']),
  imageSidePx: z.int().positive(),
  /** The answer was asked for as JSON. */
  structured: z.boolean(),
});
export type KeptPrompt = z.infer<typeof keptPrompt>;

/** A box as a reviewer says it should be. */
export const correctedBox = z.strictObject({
  /** `[n]` of the source whose picture it is on; 0: the question's own. */
  source: whole,
  label: z.string(),
  /** [left, top, right, bottom] in whole pixels of the picture as stored, right and bottom exclusive. */
  pixels: z.tuple([whole, whole, whole, whole]),
});
export type CorrectedBox = z.infer<typeof correctedBox>;

/** One reviewer's verdict on an answer. */
export const review = z.strictObject({
  reviewer: z.string(),
  verdict: z.enum(['right', 'wrong']),
  correctedAnswer: z.string().nullable(),
  correctedBoxes: z.array(correctedBox).nullable(),
  note: z.string().nullable(),
  reviewedAt: z.int(),
});
export type Review = z.infer<typeof review>;
