import type { ParsedSearchRequest } from '../contracts/http.ts';
import type { AssetPoint, Leg } from '../ports/vector-index.ts';
import { analyseQuery, codesIn, numberedNamesIn } from '../retrieval/analyser.ts';
import { joinCandidates, type LegAnswer, type LegName } from '../retrieval/candidates.ts';
import { backgroundOf, type Backgrounds, type QueryKind } from '../retrieval/relevance.ts';
import { encodeSearch, type EncodeSearchDeps } from './encode-search.ts';
import { rankCandidates, type RankedCandidate } from './rank-candidates.ts';
import type { RecordKeywords } from './record-keywords.ts';
import type { SearchPlan } from './search-plan.ts';

/** Several assets of one item use up a leg's places, so more is fetched than is kept. */
const OVERFETCH = 3;
const MOST_HITS_PER_LEG = 4_000;
/** Codes of a query that are also tried as item ids. */
const MOST_CODES = 4;

export interface CandidateDeps extends EncodeSearchDeps {
  recordKeywords: RecordKeywords;
  /** A sample of the index's vectors of a space. */
  background: (tenant: string, space: 'image' | 'text') => Promise<Float32Array[]>;
  /** Milliseconds of a monotonic clock. */
  nowMs: () => number;
}

export interface FoundCandidates {
  /** Best first. */
  candidates: RankedCandidate[];
  kind: QueryKind;
  backgrounds: Backgrounds;
  degraded: boolean;
  warnings: string[];
  timingsMs: { encode: number; index: number; fuse: number };
}

/**
 * The search up to its order: encode the query, fetch the legs in one request and their points in another, join, fuse. The
 * judgement (relevance, no_match) and the page are the caller's. Errors: `asset_not_found` and `request_invalid` for the asset
 * named as the picture; `encoder_unavailable` only where no leg is left that works without it.
 */
export async function findCandidates(
  deps: CandidateDeps,
  context: { tenant: string; traceId: string; signal?: AbortSignal | undefined },
  plan: SearchPlan,
  request: Pick<ParsedSearchRequest, 'alpha' | 'filter' | 'group_by'>,
): Promise<FoundCandidates> {
  const startedMs = deps.nowMs();
  const { encoded, degraded, warnings, itself } = await encodeSearch(deps, context, plan);
  const keywords = plan.words ? analyseQuery(plan.words) : [];
  const encodedMs = deps.nowMs();

  const vectors: Record<LegName, Float32Array | null> = {
    picture: toVector(encoded.pictureInImageSpace),
    words: toVector(encoded.wordsInImageSpace),
    text: toVector(encoded.wordsInTextSpace),
    keywords: null,
  };
  const names = plan.legs.filter((name) => (name === 'keywords' ? keywords.length > 0 : vectors[name] !== null));
  const legs = names.map((name) => legOf(name, vectors[name], keywords, plan.k[name]));
  const naming = plan.legs.includes('keywords') ? (plan.words ?? '') : '';
  const codes = codesIn(naming).slice(0, MOST_CODES);
  const numberedNames = numberedNamesIn(naming).slice(0, MOST_CODES);
  const [answers, named] = await Promise.all([
    deps.index.search(context.tenant, request.filter, legs),
    // Ids are case-sensitive and codes are folded, so the words are tried as they were typed.
    Promise.all(rawWords(plan.words, codes).map((itemId) => deps.index.findByItem(context.tenant, itemId))),
  ]);
  const ids = new Set([...answers.flat(), ...named.flat()].map((hit) => hit.assetId));
  if (itself) ids.delete(itself);
  const points: Map<string, AssetPoint> =
    ids.size === 0 ? new Map() : await deps.index.get(context.tenant, [...ids], { withVectors: true });
  const [imageSample, textSample] = await Promise.all([
    vectors.picture || vectors.words ? deps.background(context.tenant, 'image') : [],
    vectors.text ? deps.background(context.tenant, 'text') : [],
  ]);
  const indexedMs = deps.nowMs();

  const joined = joinCandidates(
    names.map<LegAnswer>((name, i) => ({
      name,
      vector: vectors[name],
      hits: (answers[i] ?? []).filter((hit) => hit.assetId !== itself),
      k: plan.k[name],
    })),
    points,
    { groupBy: request.group_by, filter: request.filter },
  );
  const kind = kindOf(names);
  // A keyword leg that was not cut short has listed every record with one of the words.
  const keywordHits = answers[names.indexOf('keywords')] ?? [];
  const withKeywords = keywordHits.length < plan.k.keywords * OVERFETCH ? new Set(keywordHits.map((hit) => hit.assetId)) : null;
  const candidates = rankCandidates(joined, {
    names,
    withKeywords,
    recordKeywords: deps.recordKeywords,
    plan,
    alpha: request.alpha,
    codes,
    numberedNames,
    keywords,
    logitScale: encoded.logitScale,
    filtered: request.filter !== undefined,
  });
  const backgrounds = {
    picture: backgroundOf(vectors.picture, imageSample),
    words: backgroundOf(vectors.words, imageSample),
    text: backgroundOf(vectors.text, textSample),
  };
  return {
    candidates,
    kind,
    backgrounds,
    degraded,
    warnings,
    timingsMs: { encode: encodedMs - startedMs, index: indexedMs - encodedMs, fuse: deps.nowMs() - indexedMs },
  };
}

function legOf(name: LegName, vector: Float32Array | null, keywords: string[], k: number): Leg {
  const limit = Math.min(k * OVERFETCH, MOST_HITS_PER_LEG);
  if (name === 'keywords' || !vector) return { space: 'keywords', keywords, limit };
  return { space: name === 'text' ? 'text' : 'image', vector, limit };
}

function kindOf(names: LegName[]): QueryKind {
  const words = names.includes('words') || names.includes('text');
  if (names.includes('picture')) return words ? 'both' : 'picture';
  return words ? 'words' : 'keywords';
}

function rawWords(words: string | null, codes: string[]): string[] {
  if (!words || codes.length === 0) return [];
  return [...new Set(words.split(/\s+/))].filter((word) => codes.includes(codesIn(word)[0] ?? '')).slice(0, MOST_CODES);
}

function toVector(values: ArrayLike<number> | undefined): Float32Array | null {
  if (!values) return null;
  return values instanceof Float32Array ? values : Float32Array.from(values);
}
