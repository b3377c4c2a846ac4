/**
 * `npm run bench:claims`: precision and recall of the claim check on test/fixtures/claims.jsonl, labelled claims over the sample's records. What is compared: a
 * lexical baseline (keyword coverage alone, its threshold fitted), the rules, and, where VLM_BASE_URL names a model server, rules and
 * model. Thresholds are fitted on the lines of `use` fit, figures are of `report` and `fresh`. `--errors` lists what the rules get wrong of the lines to fit on.
 */
import { parseArgs } from 'node:util';
import { openOpenAIGenerator } from '@sightline/generate-worker/adapters/openai-generator';
import { readPromptFiles } from '@sightline/generate-worker/adapters/prompt-files';
import type { Generator } from '@sightline/generate-worker/core/generator';
import { checkClaims, gather } from '@sightline/generate-worker/core/grounding/check-claims';
import { COVERED_FROM, judgeClaim } from '@sightline/generate-worker/core/grounding/judge-claim';
import { labelledClaims, sourcesOf, type LabelledClaim } from '@sightline/generate-worker/testing/labelled-claims';
import type { Claim } from '@sightline/shared/contracts/questions';
import { analyse, analyseQuery } from '@sightline/shared/retrieval/analyser';
import { pino } from 'pino';
import { Registry } from 'prom-client';

type Verdict = Claim['verdict'];
interface Judged {
  line: LabelledClaim;
  verdict: Verdict;
}

const { values: options } = parseArgs({ options: { errors: { type: 'boolean', default: false } } });
const claims = labelledClaims();

/** All keywords of the claim, numbers and codes among them, that stand in the sources. */
function lexicalCoverage(line: LabelledClaim): number {
  const words = new Set(analyseQuery(line.claim.replace(/\[\d\]/g, ' ')));
  const standing = new Set(
    analyse(
      sourcesOf(line)
        .map(({ text }) => text)
        .join('\n'),
    ),
  );
  return [...words].filter((word) => standing.has(word)).length / Math.max(1, words.size);
}

function rates(judged: Judged[], of: LabelledClaim['label']): { precision: number; recall: number; said: number } {
  const said = judged.filter(({ verdict }) => verdict === of);
  const right = said.filter(({ line }) => line.label === of).length;
  return {
    precision: right / said.length,
    recall: right / judged.filter(({ line }) => line.label === of).length,
    said: said.length,
  };
}

const percent = (share: number) => (Number.isNaN(share) ? '   -' : `${(share * 100).toFixed(0)} %`.padStart(5));

function report(name: string, judged: Judged[]): void {
  const [bad, good] = [rates(judged, 'unsupported'), rates(judged, 'supported')];
  console.log(
    `${name.padEnd(40)} unsupported ${percent(bad.precision)} ${percent(bad.recall)}   supported ${percent(good.precision)} ${percent(good.recall)}   not checked ${judged.length - bad.said - good.said} of ${judged.length}`,
  );
}

function reportKinds(judged: Judged[]): void {
  for (const kind of [...new Set(judged.map(({ line }) => `${line.label}: ${line.kind}`))].toSorted()) {
    const of = judged.filter(({ line }) => `${line.label}: ${line.kind}` === kind);
    const count = (verdict: Verdict) => of.filter((one) => one.verdict === verdict).length;
    console.log(
      `  ${kind.padEnd(28)} ${String(of.length).padStart(3)}: supported ${count('supported')}, unsupported ${count('unsupported')}, not checked ${count('not_checked')}`,
    );
  }
}

const lexical = (from: number, lines: LabelledClaim[]): Judged[] =>
  lines.map((line) => ({ line, verdict: lexicalCoverage(line) >= from ? 'supported' : 'unsupported' }));
const rules = (lines: LabelledClaim[], coveredFrom = COVERED_FROM): Judged[] =>
  lines.map((line) => {
    const evidence = gather(line.claim, sourcesOf(line));
    // The constant of the code, moved to where it would be.
    const coverage = evidence.coverage >= coveredFrom ? 1 : 0;
    return { line, verdict: judgeClaim({ ...evidence, coverage, probability: null }).verdict };
  });
const accuracy = (judged: Judged[]) => judged.filter(({ line, verdict }) => line.label === verdict).length / judged.length;

async function withModel(lines: LabelledClaim[], generator: Generator): Promise<Judged[]> {
  const { claimTemplate } = await readPromptFiles();
  const judged: Judged[] = [];
  for (const line of lines) {
    const { claims: found, warnings } = await checkClaims(line.claim, sourcesOf(line), {
      generator,
      template: claimTemplate,
      cacheSalt: 'bench',
      signal: AbortSignal.timeout(120_000),
    });
    if (warnings.length > 0) console.log(`  ${warnings.join(' ')}`);
    judged.push({ line, verdict: found[0]!.verdict });
  }
  return judged;
}

function openModel(baseUrl: string): Generator {
  return openOpenAIGenerator(
    {
      baseUrl,
      apiKey: process.env['VLM_API_KEY'],
      profile: {
        model: process.env['VLM_MODEL'] ?? null,
        maxImages: 1,
        imageSidePx: 336,
        boxFrame: 'unit',
        contextTokens: 4096,
        tokensPerImage: 576,
      },
      structured: 'auto',
      logprobs: 'auto',
      sampling: { temperature: 0, topP: 1, maxTokens: 8, stop: [] },
      inFlight: 1,
      firstTokenTimeoutMs: 120_000,
      tokenTimeoutMs: 60_000,
      timeoutMs: 120_000,
    },
    { logger: pino({ level: 'silent' }), registry: new Registry() },
  );
}

const fit = claims.filter(({ use }) => use === 'fit');
const rest = claims.filter(({ use }) => use !== 'fit');
const fresh = claims.filter(({ use }) => use === 'fresh');
const supported = (lines: LabelledClaim[]) => lines.filter(({ label }) => label === 'supported').length;
console.log(
  `${claims.length} claims, ${supported(claims)} supported; ${fit.length} to fit on, ${rest.length} (${supported(rest)} supported) to report, ${fresh.length} of those fresh; ${claims.filter(({ lang }) => lang === 'zh').length} Chinese.`,
);

const thresholds = Array.from({ length: 21 }, (_, i) => i / 20);
const best = thresholds.reduce((a, b) => (accuracy(lexical(b, fit)) > accuracy(lexical(a, fit)) ? b : a));
console.log(`\nThe rules' coverage threshold on the lines to fit on (the code has ${COVERED_FROM}):`);
for (const from of [0.5, 0.6, 0.7, 0.8, 0.9, 1]) report(`rules, covered from ${from}`, rules(fit, from));

console.log('\nPrecision and recall on the lines to report; what is not checked is missed by both:');
report(`lexical baseline, from ${best} (fitted)`, lexical(best, rest));
const ruled = rules(rest);
report('rules', ruled);
report('lexical baseline, fresh lines alone', lexical(best, fresh));
report('rules, fresh lines alone', rules(fresh));
const baseUrl = process.env['VLM_BASE_URL'];
let shown = ruled;
if (baseUrl) {
  const generator = openModel(baseUrl);
  try {
    await generator.ready();
    shown = await withModel(rest, generator);
    report('rules and model', shown);
  } finally {
    await generator.close();
  }
} else console.log('rules and model: not run, VLM_BASE_URL names no server.');
console.log(`\nBy kind (${shown === ruled ? 'rules' : 'rules and model'}):`);
reportKinds(shown);
if (options.errors) {
  console.log('');
  const label = (line: LabelledClaim) => `${line.kind}, ${line.label}, ${line.sources.join(' ')}`;
  for (const { line, verdict } of rules(fit))
    if (verdict !== line.label) console.log(`${verdict.padEnd(12)} ${line.claim}  (${label(line)})`);
}
