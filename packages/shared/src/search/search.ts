import type { Explanation, ParsedSearchRequest, SearchResponse, SearchResult } from '../contracts/http.ts';
import { JUDGED_CANDIDATES, NAMED_RELEVANCE, relevance, type QueryKind, type RelevanceModel } from '../retrieval/relevance.ts';
import { cursorOf, placeOf } from './search-cursor.ts';
import { findCandidates, type CandidateDeps, type FoundCandidates } from './find-candidates.ts';
import type { RankedCandidate } from './rank-candidates.ts';
import { planSearch } from './search-plan.ts';

export interface SearchDeps extends CandidateDeps {
  /**
   * BM25 weighs a word by how rare it is in the whole index. Where tenants share one, its scores would tell a tenant which words
   * stand in the others' records: then only ranks are told.
   */
  keywordScoresTold: boolean;
  /** The relevance models in force for the index's encoders and the tenant's collection. */
  calibration: (tenant: string) => Promise<{ kinds: Record<QueryKind, RelevanceModel>; fitted: boolean }>;
}

/**
 * A whole search: candidates in order, each with its calibrated relevance; `no_match` when the best of them stays below the
 * threshold of its kind of query (the first ten are judged, as in the calibration), or when `min_score` leaves none. With `no_match` the nearest are still listed, so that a person can look: a machine must not
 * use them. Pages are cuts of the same order, at most as long as the legs' union.
 */
export async function search(
  deps: SearchDeps,
  context: { tenant: string; traceId: string; signal?: AbortSignal | undefined },
  request: ParsedSearchRequest,
): Promise<SearchResponse> {
  const startedMs = deps.nowMs();
  const { offset, reach } = placeOf(context.tenant, request);
  const [found, calibration] = await Promise.all([
    findCandidates(deps, context, planSearch({ ...request, limit: reach }), request),
    deps.calibration(context.tenant),
  ]);
  const judged = found.candidates.map((candidate) => ({
    candidate,
    relevance: relevanceOf(candidate, found, calibration.kinds),
  }));
  const best = judged.slice(0, JUDGED_CANDIDATES).reduce((most, one) => Math.max(most, one.relevance), 0);
  const eligible = judged.filter((one) => one.relevance >= (request.min_score ?? 0));
  const page = eligible.slice(offset, offset + request.limit);
  const results = await Promise.all(
    page.map((one, i) => toResult(deps, context.tenant, one, { place: offset + i + 1, request, found })),
  );
  const more = offset + request.limit < eligible.length;
  const warnings = calibration.fitted
    ? found.warnings
    : [...found.warnings, 'not_calibrated: relevance is a cautious guess for this encoder; run `npm run calibrate`.'];
  return {
    results,
    no_match: eligible.length === 0 || best < calibration.kinds[found.kind].threshold,
    degraded: found.degraded,
    next_cursor: more ? cursorOf(context.tenant, request, { offset: offset + request.limit, reach }) : null,
    warnings,
    timings_ms: {
      encode: rounded(found.timingsMs.encode),
      index: rounded(found.timingsMs.index),
      fuse: rounded(found.timingsMs.fuse),
      total: rounded(deps.nowMs() - startedMs),
    },
    encoder: { image: deps.index.spec.image.fingerprint, text: deps.index.spec.text.fingerprint },
  };
}

function relevanceOf(candidate: RankedCandidate, found: FoundCandidates, kinds: Record<QueryKind, RelevanceModel>): number {
  const probability = relevance(kinds, found.kind, candidate.evidence, found.backgrounds);
  return candidate.codeMatches > 0 || candidate.namedInTitle > 0 ? Math.max(probability, NAMED_RELEVANCE) : probability;
}

async function toResult(
  deps: SearchDeps,
  tenant: string,
  judged: { candidate: RankedCandidate; relevance: number },
  { place, request, found }: { place: number; request: ParsedSearchRequest; found: FoundCandidates },
): Promise<SearchResult> {
  const { candidate } = judged;
  let { asset } = candidate;
  if (!asset.object && candidate.itemId !== null && request.group_by === 'item') {
    // A passage of the item was found, none of its pictures: show one of them all the same.
    const pictures = (await deps.index.findByItem(tenant, candidate.itemId)).filter((point) => point.kind === 'picture');
    asset = pictures.sort((a, b) => (a.assetId < b.assetId ? -1 : 1))[0] ?? asset;
  }
  return {
    citation_id: `c${place}`,
    relevance_score: judged.relevance,
    asset_id: asset.assetId,
    item_id: candidate.itemId,
    object: asset.object ? { bucket: asset.object.bucket, key: asset.object.key } : null,
    title: candidate.record?.title ?? '',
    text: candidate.record?.text ?? '',
    attributes: candidate.record?.attributes ?? {},
    ...(request.explain ? { explain: explain(candidate, found, deps.keywordScoresTold) } : {}),
  };
}

function explain(
  { signals, alignment, codeMatches, namedInTitle }: RankedCandidate,
  { kind }: FoundCandidates,
  keywordScoresTold: boolean,
): Explanation {
  const withPicture = kind === 'picture' || kind === 'both';
  return {
    image: withPicture ? signals.picture : signals.words,
    ...(withPicture && signals.words.score !== null ? { words: signals.words } : {}),
    text: signals.text,
    keywords: keywordScoresTold ? signals.keywords : { rank: signals.keywords.rank, score: null },
    alignment,
    code: codeMatches > 0,
    named: namedInTitle > 0,
  };
}

function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}
