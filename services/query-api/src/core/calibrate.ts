import { searchRequest } from '@sightline/shared/contracts/http';
import type { IndexSpec } from '@sightline/shared/ports/vector-index';
import {
  featuresOf,
  fitRelevance,
  JUDGED_CANDIDATES,
  QUERY_KINDS,
  UNCALIBRATED,
  type Calibration,
  type JudgedQuery,
  type QueryKind,
  type RelevanceModel,
} from '@sightline/shared/retrieval/relevance';
import { findCandidates, type CandidateDeps } from '@sightline/shared/search/find-candidates';
import { planSearch } from '@sightline/shared/search/search-plan';

/** A query of which it is known what answers it. */
export interface LabelledQuery {
  kind: QueryKind;
  words: string | null;
  /** A data URL. */
  picture: string | null;
  /** Item ids (asset ids of pictures without a record); empty: nothing in the collection answers it. */
  relevant: string[];
  split: 'calibration' | 'test';
  /** Items that are treated as if they were not there. */
  without?: string[];
}

/** In queries: how much evidence it takes to move a weight. */
const PENALTY = 2;

/** Searches each query exactly as query-api does, and pairs what came with what should have. */
export async function judge(
  deps: CandidateDeps,
  tenant: string,
  queries: LabelledQuery[],
  onDone: (count: number) => void,
): Promise<JudgedQuery[]> {
  const judged: JudgedQuery[] = [];
  for (const query of queries) {
    const request = searchRequest.parse({
      ...(query.words === null ? {} : { query: query.words }),
      ...(query.picture === null ? {} : { image: { data: query.picture } }),
    });
    const plan = planSearch(request);
    // As when no encoder answers.
    if (query.kind === 'keywords') plan.legs = ['keywords'];
    const found = await findCandidates(deps, { tenant, traceId: 'calibrate' }, plan, request);
    const named = (candidate: { itemId: string | null; asset: { assetId: string } }) =>
      candidate.itemId ?? candidate.asset.assetId;
    const candidates = found.candidates
      .filter((candidate) => !query.without?.includes(named(candidate)))
      .slice(0, JUDGED_CANDIDATES);
    judged.push({
      kind: query.kind,
      present: query.relevant.length > 0,
      split: query.split,
      candidates: candidates.map((candidate) => ({
        features: featuresOf(query.kind, candidate.evidence, found.backgrounds),
        relevant: query.relevant.includes(named(candidate)),
      })),
    });
    onDone(judged.length);
  }
  return judged;
}

/** The calibration that the judged queries give. A kind that cannot be fitted keeps its built-in guess and is named in `unfitted`. */
export function calibrationOf(
  judged: JudgedQuery[],
  about: { spec: IndexSpec; assets: number; fittedAt: Date; labels: string },
): { calibration: Calibration; unfitted: QueryKind[] } {
  const kinds: Record<QueryKind, RelevanceModel> = { ...UNCALIBRATED };
  const heldOut: Calibration['held_out'] = {};
  const unfitted: QueryKind[] = [];
  for (const kind of QUERY_KINDS) {
    const fitted = fitRelevance(kind, judged, { penalty: PENALTY });
    if (!fitted) {
      unfitted.push(kind);
      continue;
    }
    kinds[kind] = rounded(fitted.model);
    heldOut[kind] = fitted.heldOut;
  }
  const { image, text } = about.spec;
  const calibration: Calibration = {
    version: 1,
    fingerprints: { image: image.fingerprint, text: text.fingerprint },
    assets: about.assets,
    fitted_at: about.fittedAt.toISOString(),
    labels: about.labels,
    kinds,
    held_out: heldOut,
  };
  return { calibration, unfitted };
}

/** Six digits: more would only be noise in a file that people compare. */
function rounded(model: RelevanceModel): RelevanceModel {
  const digits = (value: number) => Number(value.toPrecision(6));
  const { mean, scale, weights, bias, threshold } = model;
  return {
    mean: mean.map(digits),
    scale: scale.map(digits),
    weights: weights.map(digits),
    bias: digits(bias),
    threshold: digits(threshold),
  };
}
