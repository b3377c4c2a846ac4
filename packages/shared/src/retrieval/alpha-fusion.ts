import { standardise } from './standardise.ts';

/** The cosines of one candidate; null where the point has no vector of that space. */
export interface Cosines {
  /** cos(qI, dI): the query's picture against the candidate's. */
  picture: number | null;
  /** cos(qT, dI): the query's words, carried into the visual space, against the candidate's picture. */
  words: number | null;
  /** The query's words against the candidate's text, in the text space. */
  text: number | null;
}

/** Which signals the query itself has: a picture alone has neither words nor text. */
export interface QuerySignals {
  words: boolean;
  text: boolean;
}

/**
 * Fusion for a query with a picture, over the union of the legs' candidates:
 *
 *     s = alpha * (z(cos(qI, dI)) + z(cos(qT, dI))) / 2 + (1 - alpha) * z(text)
 *
 * Each signal is standardised over the candidates first, because picture-picture and words-picture cosines live on
 * different scales (the modality gap; Liang et al., "Mind the Gap", NeurIPS 2022): added raw, alpha would hardly matter.
 * Without query words in the visual space the second term falls away (s's visual part is z(cos(qI, dI)) alone); without
 * them in the text space the text part does, and alpha with it. Scores in the candidates' order.
 */
export function alphaFusion(candidates: Cosines[], alpha: number, query: QuerySignals): number[] {
  const picture = standardise(candidates.map((candidate) => candidate.picture));
  const words = standardise(candidates.map((candidate) => candidate.words));
  const text = standardise(candidates.map((candidate) => candidate.text));
  const visualWeight = query.text ? alpha : 1;
  return candidates.map((_, i) => {
    const visual = query.words ? ((picture[i] ?? 0) + (words[i] ?? 0)) / 2 : (picture[i] ?? 0);
    return visualWeight * visual + (1 - visualWeight) * (text[i] ?? 0);
  });
}
