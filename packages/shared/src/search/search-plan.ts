import type { ParsedSearchRequest } from '../contracts/http.ts';
import type { LegName } from '../retrieval/candidates.ts';
import { SightlineError } from '../runtime/errors.ts';

/** Candidates of a leg when the request does not say: words carried into the other spaces need fewer than a picture does. */
const DEFAULT_K = { words: 15, picture: 20 };

/** What a request asks of the legs, before anything is encoded. */
export interface SearchPlan {
  /** Trimmed; null without words. */
  words: string | null;
  picture: { data: string } | { assetId: string } | null;
  legs: LegName[];
  /** Candidates per leg, after joining. */
  k: Record<LegName, number>;
  weights: Record<LegName, number>;
  warnings: string[];
}

/**
 * Hybrid searches every leg that the query has something for; `text` the text space and the keywords; `visually_similar` the
 * visual space alone. Errors: `request_invalid` for a mode that has nothing to search with.
 */
export function planSearch(request: ParsedSearchRequest): SearchPlan {
  const words = request.query?.trim() || null;
  const warnings: string[] = [];
  let picture: SearchPlan['picture'] = null;
  if (request.image) picture = 'data' in request.image ? { data: request.image.data } : { assetId: request.image.asset_id };
  if (request.mode === 'text') {
    if (!words) throw new SightlineError('request_invalid', 'query: the mode "text" needs words.');
    if (picture) warnings.push('picture_not_used: the mode "text" does not look at pictures.');
    picture = null;
  }
  const legs: LegName[] = [];
  if (picture) legs.push('picture');
  if (words && request.mode !== 'text') legs.push('words');
  if (words && request.mode !== 'visually_similar') legs.push('text', 'keywords');
  const k = Math.max(picture ? DEFAULT_K.picture : DEFAULT_K.words, request.limit);
  const image = request.k?.image ?? k;
  const imageWeight = request.weights?.image ?? 1;
  return {
    words,
    picture,
    legs,
    k: { picture: image, words: image, text: request.k?.text ?? k, keywords: request.k?.keywords ?? k },
    weights: {
      picture: imageWeight,
      words: imageWeight,
      text: request.weights?.text ?? 1,
      keywords: request.weights?.keywords ?? 1,
    },
    warnings,
  };
}
