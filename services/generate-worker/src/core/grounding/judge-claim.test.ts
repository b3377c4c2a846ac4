import { expect, test } from '@jest/globals';
import { judgeClaim, type ClaimEvidence } from './judge-claim.ts';

const plain: ClaimEvidence = {
  hasText: true,
  hasPicture: false,
  missing: 0,
  coverage: 1,
  negationDiffers: false,
  probability: null,
};

test.each<[Partial<ClaimEvidence>, string, number | null]>([
  [{}, 'supported', null],
  [{ coverage: 0.9 }, 'supported', null],
  [{ coverage: 0.89 }, 'not_checked', null],
  [{ negationDiffers: true }, 'not_checked', null],
  [{ missing: 1 }, 'unsupported', null],
  [{ missing: 1, probability: 0.99 }, 'unsupported', null],
  [{ missing: 1, hasPicture: true }, 'not_checked', null],
  [{ missing: 1, hasPicture: true, probability: 0.9 }, 'supported', 0.9],
  [{ missing: 1, hasPicture: true, probability: 0.1 }, 'unsupported', 0.1],
  [{ probability: 0.5 }, 'supported', 0.5],
  [{ probability: 0.49 }, 'unsupported', 0.49],
  [{ coverage: 0, negationDiffers: true, probability: 0.9 }, 'supported', 0.9],
  [{ hasText: false, hasPicture: true }, 'not_checked', null],
  [{ hasText: false, hasPicture: true, probability: 0.7 }, 'supported', 0.7],
  [{ hasText: false }, 'not_checked', null],
  [{ hasText: false, probability: 0.9 }, 'not_checked', null],
])('%j is %s', (evidence, verdict, score) => {
  expect(judgeClaim({ ...plain, ...evidence })).toEqual({ verdict, score });
});
