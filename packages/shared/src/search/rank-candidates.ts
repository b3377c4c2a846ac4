import type { Candidate, LegName } from '../retrieval/candidates.ts';
import { alignment } from '../retrieval/alignment.ts';
import { alphaFusion } from '../retrieval/alpha-fusion.ts';
import { countCodes, countNumberedNames } from '../retrieval/codes.ts';
import { reciprocalRankFusion } from '../retrieval/reciprocal-rank-fusion.ts';
import type { Evidence } from '../retrieval/relevance.ts';
import type { RecordKeywords } from './record-keywords.ts';
import type { SearchPlan } from './search-plan.ts';

/** A candidate in its final place, with what its relevance is judged from. */
export interface RankedCandidate extends Candidate {
  score: number;
  codeMatches: number;
  namedInTitle: number;
  alignment: number | null;
  evidence: Evidence;
}

export interface RankingInput {
  names: LegName[];
  /** The assets whose records have one of the query's keywords; null when not all of them are known. */
  withKeywords: Set<string> | null;
  recordKeywords: RecordKeywords;
  plan: SearchPlan;
  alpha: number;
  codes: string[];
  numberedNames: string[];
  keywords: string[];
  logitScale: number | null;
  filtered: boolean;
}

/** Keeps what a leg listed or a code names, scores it, and puts it in order: exact codes, numbered names, score, key. */
export function rankCandidates(joined: Candidate[], input: RankingInput): RankedCandidate[] {
  const judged = joined
    .map((candidate) => ({
      candidate,
      codeMatches: Math.max(0, ...candidate.records.map((record) => countCodes(record, input.codes))),
    }))
    .filter(({ candidate, codeMatches }) => codeMatches > 0 || input.names.some((name) => candidate.signals[name].rank !== null))
    // A point that only its code brought has not passed the index's filter.
    .filter(({ candidate }) => !input.filtered || candidate.record !== null);
  const cosines = judged.map(({ candidate: { signals } }) => ({
    picture: signals.picture.score,
    words: signals.words.score,
    text: signals.text.score,
  }));
  const scores = input.names.includes('picture')
    ? alphaFusion(cosines, input.alpha, { words: input.names.includes('words'), text: input.names.includes('text') })
    : rankScores(
        judged.map(({ candidate }) => candidate),
        input,
      );
  const aligned =
    input.logitScale === null
      ? null
      : alignment(
          cosines.map((c) => (input.names.includes('words') ? c.words : c.picture)),
          input.logitScale,
        );
  const asked = new Set(input.keywords);
  return judged
    .map(({ candidate, codeMatches }, i): RankedCandidate => ({
      ...candidate,
      score: scores[i] ?? 0,
      codeMatches,
      namedInTitle: Math.max(0, ...candidate.records.map((record) => countNumberedNames(record, input.numberedNames))),
      alignment: aligned?.[i] ?? null,
      evidence: {
        ...(cosines[i] ?? { picture: null, words: null, text: null }),
        coverage: coverageOf(candidate, asked, input),
      },
    }))
    .sort(
      (a, b) => b.codeMatches - a.codeMatches || b.namedInTitle - a.namedInTitle || b.score - a.score || (a.key < b.key ? -1 : 1),
    );
}

function rankScores(candidates: Candidate[], input: RankingInput): number[] {
  const legs = input.names.map((name) => ({
    weight: input.plan.weights[name],
    ranking: candidates
      .filter((candidate) => candidate.signals[name].rank !== null)
      .sort((a, b) => (a.signals[name].rank ?? 0) - (b.signals[name].rank ?? 0))
      .map((candidate) => candidate.key),
  }));
  const scores = reciprocalRankFusion(legs);
  return candidates.map((candidate) => scores.get(candidate.key) ?? 0);
}

/** Share of the query's distinct keywords that stand in the candidate's record; null without words. */
function coverageOf(candidate: Candidate, asked: Set<string>, input: RankingInput): number | null {
  if (asked.size === 0) return null;
  const { withKeywords, recordKeywords } = input;
  if (withKeywords && !candidate.assetIds.some((assetId) => withKeywords.has(assetId))) return 0;
  const standing = candidate.records.map((record) => recordKeywords.of(record));
  return [...asked].filter((keyword) => standing.some((keywords) => keywords.has(keyword))).length / asked.size;
}
