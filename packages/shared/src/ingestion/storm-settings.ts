import { setting, wholeNumber } from '../runtime/config.ts';

/** When an ingestion is held because nearly all of it fails: the same in every service that sees its objects. */
export const STORM_SETTINGS = {
  stormObjects: setting(
    'FAILURE_STORM_OBJECTS',
    wholeNumber(0, 1_000_000).default(200),
    'An ingestion is paused when nearly all of so many objects in a row fail with one code that is not their own fault, such as object_forbidden (of five times as many with one picture_* code). 0: never.',
  ),
  stormPercent: setting(
    'FAILURE_STORM_PERCENT',
    wholeNumber(50, 100).default(90),
    'What counts as nearly all there, in percent.',
  ),
};
