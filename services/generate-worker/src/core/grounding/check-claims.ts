import type { Claim } from '@sightline/shared/contracts/questions';
import type { Generator, PromptPart } from '../generator.ts';
import { neutralise } from '../neutralise.ts';
import { missingFacts } from './agree-facts.ts';
import { factsOf } from './claim-facts.ts';
import { coverage, denies, negationDiffers, statesNothing } from './claim-words.ts';
import { judgeClaim, type ClaimEvidence } from './judge-claim.ts';
import { findQuote } from './quote.ts';
import { splitSentences } from './sentences.ts';

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

export interface ClaimDeps {
  /** Null: no model is asked. */
  generator: Pick<Generator, 'yesNo' | 'profile'> | null;
  template: ClaimTemplate;
  cacheSalt: string;
  signal: AbortSignal;
}

/** A model is asked about so many sentences of an answer at most. */
const MAX_CALLS = 12;
/** What is longer is no sentence: it is not checked, so that a wall of figures holds nobody up. */
const MAX_CLAIM_CHARS = 1_500;
/** More sentences than this are not told of. */
const MAX_CLAIMS = 100;

/** Errors: a TypeError for a file that is no such template. */
export function parseClaimTemplate(text: string): ClaimTemplate {
  const [system, content, ...rest] = text.split(/^---\r?\n/m);
  if (system === undefined || !content?.includes('{{sources}}') || !content.includes('{{claim}}') || rest.length > 0)
    throw new TypeError('a claim template has a system part, a line ---, and a part with {{sources}} and {{claim}}');
  return { system: system.trim(), content: content.trim() };
}

/**
 * Checks each sentence of a parsed answer against the sources that it cites, together. The model is asked one sentence at a time, in the
 * order of the text; when it fails, or says that it cannot weigh yes against no, it is not asked again, and the rules' verdict stands.
 * Only an abort is thrown.
 */
export async function checkClaims(
  answer: string,
  sources: ClaimSource[],
  deps: ClaimDeps,
): Promise<{ claims: Claim[]; warnings: string[] }> {
  const claims: Claim[] = [];
  const asker = new Asker(deps);
  for (const { text } of splitSentences(answer)) {
    if (claims.length >= MAX_CLAIMS) break;
    const cited = sources.filter(({ n }) => text.includes(`[${n}]`));
    if (cited.length === 0) {
      if (!statesNothing(text)) claims.push({ text, citationIds: [], verdict: 'not_checked', score: null });
      continue;
    }
    const citationIds = cited.map(({ citationId }) => citationId);
    if (text.length > MAX_CLAIM_CHARS) {
      claims.push({ text, citationIds, verdict: 'not_checked', score: null });
      continue;
    }
    const evidence = gather(text, cited);
    // Where the rules are sure, a call would change nothing.
    const probability = evidence.missing > 0 && !evidence.hasPicture ? null : await asker.ask(text, cited);
    claims.push({ text, citationIds, ...judgeClaim({ ...evidence, probability }) });
  }
  return { claims, warnings: asker.warnings() };
}

/** What the rules see. */
export function gather(sentence: string, cited: ClaimSource[]): Omit<ClaimEvidence, 'probability'> {
  const said = sentence.replace(/\[\d{1,2}\]/g, ' ');
  const words = cited.map(({ text }) => text).join('\n');
  // Where nothing is denied anywhere, no place denies anything: looking for it is the dearest part.
  const place = denies(words) ? (findQuote([said], words) ?? words) : words;
  return {
    hasText: words.trim() !== '',
    hasPicture: cited.some(({ picture }) => picture !== null),
    missing: missingFacts(factsOf(said), factsOf(words)).length,
    coverage: coverage(said, words),
    negationDiffers: negationDiffers(said, place, words),
  };
}

class Asker {
  readonly #deps: ClaimDeps;
  #calls = 0;
  #able: boolean;
  #failed = false;
  #left = 0;

  constructor(deps: ClaimDeps) {
    this.#deps = deps;
    this.#able = deps.generator?.profile.logprobs === true;
  }

  async ask(sentence: string, cited: ClaimSource[]): Promise<number | null> {
    const { generator, template, cacheSalt, signal } = this.#deps;
    if (!generator || !this.#able || cited.every(({ text, picture }) => text.trim() === '' && !picture)) return null;
    if (this.#failed || this.#calls >= MAX_CALLS) {
      this.#left++;
      return null;
    }
    this.#calls++;
    signal.throwIfAborted();
    try {
      const content = claimPrompt(template, sentence, cited, generator.profile.maxImages);
      const probability = await generator.yesNo({ system: template.system, content, cacheSalt }, { signal });
      this.#able = probability !== null;
      return probability;
    } catch {
      signal.throwIfAborted();
      this.#failed = true;
      this.#left++;
      return null;
    }
  }

  warnings(): string[] {
    return this.#left > 0
      ? [`claims_by_rules: The model was not asked about every sentence; left to the rules: ${this.#left}.`]
      : [];
  }
}

/** Sources first, so that a server's prefix cache serves the next sentence that cites them. */
function claimPrompt(template: ClaimTemplate, sentence: string, cited: ClaimSource[], maxImages: number): PromptPart[] {
  const claim = sentence.replace(/\s*\[\d{1,2}\]/g, '').trim();
  const passages = cited
    .filter(({ text }) => text.trim() !== '')
    .map(({ text }, i) => `<source id="${i + 1}">\n${neutralise(text)}\n</source>`)
    .join('\n');
  const pictures = cited.flatMap(({ picture }) => picture ?? []).slice(0, maxImages);
  // By function, so that no `$&` of a stranger's text is expanded.
  const text = template.content
    .replace('{{sources}}', () => passages)
    .replace(/\{\{claim\}\}(?![\s\S]*\{\{claim\}\})/, () => neutralise(claim));
  return [...pictures, { type: 'text', text: text.trim() }];
}
