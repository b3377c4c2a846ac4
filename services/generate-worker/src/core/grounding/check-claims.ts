import type { Claim } from '@sightline/shared/contracts/questions';
import type { Generator, PromptPart } from '../generator.ts';

/** A source as claims are checked against it. */
export interface ClaimSource {
  n: number;
  citationId: string;
  /** Title, words and attributes as the prompt showed them; empty where it has none. */
  text: string;
  /** Its picture, where the model was shown it. */
  picture: Extract<PromptPart, { type: 'image' }> | null;
}

/** `prompts/claim-check-v1.txt`, read by `parseClaimTemplate`. */
export interface ClaimTemplate {
  system: string;
  /** With `{{sources}}` and `{{claim}}`. */
  content: string;
}

export function parseClaimTemplate(_text: string): ClaimTemplate {
  throw new Error('to be written');
}

export interface ClaimDeps {
  /** Null: no model is asked. */
  generator: Pick<Generator, 'yesNo' | 'profile'> | null;
  template: ClaimTemplate;
  cacheSalt: string;
  signal: AbortSignal;
}

/** Checks each sentence of a parsed answer against the sources it cites. A model that fails leaves the rules' verdict; only an abort is thrown. */
export async function checkClaims(
  _answer: string,
  _sources: ClaimSource[],
  _deps: ClaimDeps,
): Promise<{ claims: Claim[]; warnings: string[] }> {
  throw new Error('to be written');
}
