import { z } from 'zod';
import { DEFAULT_TENANT } from '../contracts/ids.ts';
import { fitLogistic, predict, type Example } from './logistic-regression.ts';
import { cosine } from './cosine.ts';

/** What a query has, which decides how its results are judged. `keywords`: no encoder answered. */
export const QUERY_KINDS = ['words', 'picture', 'both', 'keywords'] as const;
export type QueryKind = (typeof QUERY_KINDS)[number];

/** Mean and deviation of a query's cosines to a background sample of the index: what "similar by chance" looks like. */
export interface Background {
  mean: number;
  deviation: number;
}

/** What is known of one candidate. Null where the query or the point has nothing to compare. */
export interface Evidence {
  /** Cosines. */
  picture: number | null;
  words: number | null;
  text: number | null;
  /** Share of the query's distinct keywords that stand in the record, 0 to 1. */
  coverage: number | null;
}

export type Backgrounds = Record<'picture' | 'words' | 'text', Background | null>;

const model = z.strictObject({
  mean: z.array(z.number()),
  scale: z.array(z.number().positive()),
  weights: z.array(z.number().nonnegative()),
  bias: z.number(),
  /** `no_match` when the best result stays below. */
  threshold: z.number().min(0).max(1),
});

const errorRates = z.strictObject({
  present: z.int().describe('Held-out queries for things that are there.'),
  absent: z.int().describe('Held-out queries for things that are not.'),
  false_positive_rate: z.number().nullable().describe('Absent things that were said to match.'),
  false_negative_rate: z.number().nullable().describe('Present things that were said not to match.'),
});
export type ErrorRates = z.infer<typeof errorRates>;

/** What `npm run calibrate` writes, and a pack may bring as `calibration.json`: a model per kind of query. */
export const calibration = z.strictObject({
  version: z.literal(1),
  fingerprints: z.strictObject({ image: z.string(), text: z.string() }),
  /** Points of the index it was fitted on: margins grow with the collection. */
  assets: z.int().nonnegative(),
  fitted_at: z.iso.datetime(),
  labels: z.string(),
  kinds: z.strictObject({ words: model, picture: model, both: model, keywords: model }),
  held_out: z.record(z.string(), errorRates),
});
export type Calibration = z.infer<typeof calibration>;
export type RelevanceModel = z.infer<typeof model>;

/** The ledger's setting that holds a tenant's own calibration of a pair of fingerprints: thresholds follow from the collection. */
export function calibrationSetting(fingerprints: { image: string; text: string }, tenant: string): string {
  const name = `calibration:${fingerprints.image}:${fingerprints.text}`;
  return tenant === DEFAULT_TENANT ? name : `${name}:${tenant}`;
}

/** The ledger's setting by which encode workers tell query-api, which knows no packs, what their pack brings. */
export function packCalibrationSetting(fingerprints: { image: string; text: string }): string {
  return `pack-calibration:${fingerprints.image}:${fingerprints.text}`;
}

/** A background of fewer vectors says too little about its own deviation: it is widened to at least this. */
const LEAST_DEVIATION = 0.02;

/** Cosines of a query against the background sample; null without a vector or a sample. */
export function backgroundOf(vector: ArrayLike<number> | null, sample: Float32Array[]): Background | null {
  if (!vector || sample.length === 0) return null;
  const cosines = sample.map((other) => cosine(vector, other));
  const mean = cosines.reduce((sum, value) => sum + value, 0) / cosines.length;
  const deviation = Math.sqrt(cosines.reduce((sum, value) => sum + (value - mean) ** 2, 0) / cosines.length);
  return { mean, deviation: Math.max(deviation, LEAST_DEVIATION) };
}

/** Deviations above the background's mean. */
function margin(score: number | null, background: Background | null): number | null {
  return score === null || background === null ? null : (score - background.mean) / background.deviation;
}

/**
 * The features of each kind, in the order of the model's weights: each leg's cosine and its margin; with words also the keywords' coverage
 * and the larger of the two margins, because one leg that is sure is enough: a record without a text is found by its picture alone.
 */
export function featuresOf(kind: QueryKind, evidence: Evidence, backgrounds: Backgrounds): (number | null)[] {
  const picture = [evidence.picture, margin(evidence.picture, backgrounds.picture)];
  if (kind === 'picture') return picture;
  if (kind === 'keywords') return [evidence.coverage];
  const seen = margin(evidence.words, backgrounds.words);
  const read = margin(evidence.text, backgrounds.text);
  const surest = seen === null || read === null ? (seen ?? read) : Math.max(seen, read);
  const words = [evidence.words, seen, evidence.text, read, evidence.coverage, surest];
  return kind === 'words' ? words : [...picture, ...words];
}

/** `relevance_score`: the probability that a result answers the query, from its evidence. */
export function relevance(
  calibrated: Record<QueryKind, RelevanceModel>,
  kind: QueryKind,
  evidence: Evidence,
  backgrounds: Backgrounds,
): number {
  return predict(calibrated[kind], featuresOf(kind, evidence, backgrounds));
}

/**
 * An exact code, or a noun and its number in a title ("problem 480"), names its record: whatever the vectors say, its relevance is not below this. A
 * judgement, not a fit.
 */
export const NAMED_RELEVANCE = 0.9;

/** `no_match` is judged by the first so many candidates, in the fit as in a search; the rest of a long list would teach little. */
export const JUDGED_CANDIDATES = 10;

/** One query of a calibration set, with the judged candidates that a search brought. */
export interface JudgedQuery {
  kind: QueryKind;
  /** False: what it asks for is not in the collection, and no candidate is relevant. */
  present: boolean;
  split: 'calibration' | 'test';
  candidates: { features: (number | null)[]; relevant: boolean }[];
}

/**
 * Fits one kind's model and its `no_match` threshold on the calibration split, and measures it on the test split. Queries
 * count alike however many candidates they brought. The threshold is where the two error rates' mean is least, in the middle of
 * the gap. Null when the calibration split lacks present or absent queries that brought candidates.
 */
export function fitRelevance(
  kind: QueryKind,
  judged: JudgedQuery[],
  options: { penalty: number },
): { model: RelevanceModel; heldOut: ErrorRates } | null {
  const ours = judged.filter((query) => query.kind === kind);
  const fitted = ours.filter((query) => query.split === 'calibration');
  const [there, away] = [fitted.filter((query) => query.present), fitted.filter((query) => !query.present)];
  if (![there, away].every((queries) => queries.some((query) => query.candidates.length > 0))) return null;
  const examples: Example[] = fitted.flatMap((query) =>
    query.candidates.map((candidate) => ({
      features: candidate.features,
      label: candidate.relevant,
      weight: 1 / query.candidates.length,
    })),
  );
  const logistic = fitLogistic(examples, { penalty: options.penalty });
  // Without any candidate nothing matches, and rightly or wrongly that is said.
  const best = (query: JudgedQuery) => Math.max(0, ...query.candidates.map((candidate) => predict(logistic, candidate.features)));
  const threshold = separatingThreshold(there.map(best), away.map(best));
  const held = ours.filter((query) => query.split === 'test');
  const present = held.filter((query) => query.present).map(best);
  const absent = held.filter((query) => !query.present).map(best);
  return {
    model: { ...logistic, threshold },
    heldOut: {
      present: present.length,
      absent: absent.length,
      false_positive_rate: absent.length === 0 ? null : absent.filter((score) => score >= threshold).length / absent.length,
      false_negative_rate: present.length === 0 ? null : present.filter((score) => score < threshold).length / present.length,
    },
  };
}

/** Where (share of absent at or above + share of present below) is least; the middle of the widest best gap. */
export function separatingThreshold(present: number[], absent: number[]): number {
  const values = [...new Set([0, ...present, ...absent, 1])].sort((a, b) => a - b);
  let best = { cost: Infinity, width: 0, threshold: 0.5 };
  for (let i = 1; i < values.length; i++) {
    const [low, high] = [values[i - 1] ?? 0, values[i] ?? 1];
    const threshold = (low + high) / 2;
    const cost =
      absent.filter((score) => score >= threshold).length / absent.length +
      present.filter((score) => score < threshold).length / present.length;
    const width = high - low;
    if (cost < best.cost - 1e-12 || (cost < best.cost + 1e-12 && width > best.width)) best = { cost, width, threshold };
  }
  return best.threshold;
}

const builtIn = (weights: number[], bias: number): RelevanceModel => ({
  mean: weights.map(() => 0),
  scale: weights.map(() => 1),
  weights,
  bias,
  threshold: 0.5,
});

/**
 * For a pack that brings no calibration, before `npm run calibrate`: guesses by hand, cautious, and named as not fitted
 * wherever they are used.
 */
export const UNCALIBRATED: Record<QueryKind, RelevanceModel> = {
  words: builtIn([0, 0.3, 0, 0.3, 2, 0.6], -5),
  picture: builtIn([0, 1.2], -5.5),
  both: builtIn([0, 0.8, 0, 0.2, 0, 0.2, 1, 0.3], -6),
  keywords: builtIn([8], -5),
};
