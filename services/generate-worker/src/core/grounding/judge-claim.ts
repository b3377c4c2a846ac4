import type { Claim } from '@sightline/shared/contracts/questions';

/**
 * From this probability of yes on, a model's answer counts as support, else as none. The middle, because the two are weighed against
 * each other and nothing else; `npm run bench:claims` shows what another would do.
 */
export const YES_FROM = 0.5;
/** Share of a sentence's content words that its sources must hold before the rules alone call it supported: see bench/claim-check.ts. */
export const COVERED_FROM = 0.9;

/** What is known of a sentence that cites sources. */
export interface ClaimEvidence {
  /** Any cited source has words; any cited picture was shown. */
  hasText: boolean;
  hasPicture: boolean;
  /** Numbers, units and codes of the sentence that stand in no cited source's words. */
  missing: number;
  /** 0 to 1. */
  coverage: number;
  /** One of the two denies something, the other does not. */
  negationDiffers: boolean;
  /** The model's, null where it gave none. */
  probability: number | null;
}

/**
 * Words that lack a number, unit or code are against it, whatever a model says, unless a picture may hold it; then, and for all that
 * rules cannot see (denials, roles, colours), the model decides. Without its word the rules alone support what they can account for
 * wholly, and leave the rest open.
 */
export function judgeClaim(evidence: ClaimEvidence): Pick<Claim, 'verdict' | 'score'> {
  const { hasText, hasPicture, missing, coverage, negationDiffers, probability } = evidence;
  if (!hasText && !hasPicture) return { verdict: 'not_checked', score: null };
  if (missing > 0 && !hasPicture) return { verdict: 'unsupported', score: null };
  if (probability !== null) return { verdict: probability >= YES_FROM ? 'supported' : 'unsupported', score: probability };
  const isCovered = hasText && missing === 0 && coverage >= COVERED_FROM && !negationDiffers;
  return { verdict: isCovered ? 'supported' : 'not_checked', score: null };
}
