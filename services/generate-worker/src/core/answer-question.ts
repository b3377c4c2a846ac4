import type { JobData } from '@sightline/shared/contracts/jobs';
import type { QuestionEventData, QuestionResult } from '@sightline/shared/contracts/questions';
import { isOutage } from '@sightline/shared/ingestion/outages';
import type { Question, QuestionEnd } from '@sightline/shared/ports/question-ledger';
import { SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import type { AnswerDeps } from './answer-deps.ts';
import { wordsOf } from './build-prompt.ts';
import { claimQuestion, QuestionLeft, type ClaimedQuestion } from './claimed-question.ts';
import { generateAnswer, type GeneratedAnswer } from './generate-answer.ts';
import { checkClaims } from './grounding/check-claims.ts';
import { parseAnswer } from './grounding/parse-answer.ts';
import { keptPromptOf } from './kept-prompt.ts';
import { retrieve, type Retrieved } from './retrieve.ts';
import { TokenStream } from './token-stream.ts';

const MOST_DETAIL_CHARS = 1_000;
/** Workers that may have died while they held a question before it is worked alone among its like: a death counts for all that were held. */
const ALONE_AFTER = 3;

/**
 * Works one question: takes it under a claim, retrieves, has the model answer, grounds the answer, and ends it in one step with its
 * outbox message. Whatever happens it ends answered or failed with a code, or is still owed: what is away gives it back until
 * `giveUpAfterMs` are over; a worker's death leaves its claim to lapse. Throws `job_handed_back` when it was given back.
 */
export async function answerQuestion(deps: AnswerDeps, job: JobData<'answer'>, jobSignal: AbortSignal): Promise<void> {
  const leave = await alone(deps, job, jobSignal);
  try {
    await workClaimed(deps, job, jobSignal);
  } finally {
    leave?.();
  }
}

/** Of questions that workers died over this process works one at a time, so that the one at fault takes none of the others with it. */
async function alone(
  { ledger, suspectSlots }: AnswerDeps,
  { tenant, questionId }: JobData<'answer'>,
  signal: AbortSignal,
): Promise<(() => void) | null> {
  const question = await ledger.getQuestion(tenant, questionId);
  return question && question.attempts >= ALONE_AFTER ? suspectSlots.take(signal) : null;
}

async function workClaimed(deps: AnswerDeps, job: JobData<'answer'>, jobSignal: AbortSignal): Promise<void> {
  const claimed = await claimQuestion(deps, job.questionId, jobSignal);
  if (!claimed) return;
  const { question, token, signal } = claimed;
  try {
    if (question.attempts > deps.mostDeaths) throw new SightlineError('question_kills_worker');
    const end = await workOn(deps, claimed);
    signal.throwIfAborted();
    if (!(await finish(deps, question, token, end))) throw new QuestionLeft('lost');
    deps.metrics.ended(end.result.noMatch ? 'no_match' : 'answered');
  } catch (thrown) {
    await endOtherwise(deps, claimed, thrown);
  } finally {
    claimed.end();
  }
}

async function endOtherwise(deps: AnswerDeps, { question, token, signal }: ClaimedQuestion, thrown: unknown): Promise<void> {
  const reason: unknown = signal.aborted ? signal.reason : thrown;
  if (reason instanceof QuestionLeft) {
    if (await isCancelled(deps, question, reason)) deps.metrics.ended('cancelled');
    return;
  }
  const error = toSightlineError(thrown);
  const isAway = isOutage(error.code) || error.code === 'generator_unavailable';
  const isOld = deps.now() - question.createdAt >= deps.giveUpAfterMs;
  if (signal.aborted || (isAway && !isOld)) {
    deps.metrics.ended('given_back');
    await deps.ledger.giveBackQuestion(question.questionId, token);
    throw new SightlineError('job_handed_back', undefined, { cause: error });
  }
  deps.warn(error, 'a question ends without an answer', { questionId: question.questionId, code: error.code });
  const at = deps.now();
  // Details may name parts of the stack; those of the question's own matters are told.
  const detail = isOwnMatter(error, question) ? (error.detail?.slice(0, MOST_DETAIL_CHARS).toWellFormed() ?? null) : null;
  const told = { code: error.code, detail };
  const message = deps.messages.failed(question, told, at);
  const isMine = await finish(deps, question, token, { status: 'failed', error: told, at, events: [], message });
  if (isMine) deps.metrics.ended('failed');
}

/** A write that is refused does not say whether the question was cancelled or is another's. */
async function isCancelled({ ledger }: AnswerDeps, { tenant, questionId }: Question, { why }: QuestionLeft): Promise<boolean> {
  if (why === 'cancelled') return true;
  const question = await ledger.getQuestion(tenant, questionId).catch(() => null);
  return question?.status === 'cancelled';
}

/** What a model server refuses is the asker's matter where the asker chose the adapter. */
function isOwnMatter({ code }: SightlineError, { asked }: Question): boolean {
  if (code === 'generator_refused') return asked.adapter !== null;
  return code.startsWith('picture_') || code === 'request_invalid' || code === 'question_too_long';
}

/** False for who lost the claim at the last moment: the question is another's, or over. */
async function finish(deps: AnswerDeps, question: Question, token: string, end: QuestionEnd): Promise<boolean> {
  const done = await deps.ledger.finishQuestion(question.questionId, token, end);
  if (done) deps.onFinished(question.tenant, done.deliveryIds);
  return done !== null;
}

async function workOn(
  deps: AnswerDeps,
  { question, token, signal }: ClaimedQuestion,
): Promise<QuestionEnd & { status: 'answered' }> {
  const startedMs = deps.nowMs();
  const queueMs = Math.max(0, (question.startedAt ?? question.createdAt) - question.createdAt);
  if (question.attempts === 1) deps.metrics.stage('queue', queueMs);
  const write = (event: QuestionEventData): Promise<boolean> =>
    deps.ledger.addQuestionEvents(question.questionId, token, [event]);
  const [retrieved, attemptsTold] = await Promise.all([retrieve(deps, question, signal), lastAttempt(deps, question)]);
  const retrieveMs = deps.nowMs() - startedMs;
  deps.metrics.stage('retrieve', retrieveMs);

  let attempt = attemptsTold;
  const begin = async () => {
    attempt += 1;
    if (!(await write(retrievedEvent(attempt, retrieved)))) throw new QuestionLeft('lost');
    const stream = new TokenStream({ write, nowMs: deps.nowMs, lost: () => new QuestionLeft('lost') }, attempt);
    return { onText: (text: string) => stream.add(text), end: () => stream.flush() };
  };
  if (retrieved.noMatch) {
    await begin();
    const result = notFound(deps, question, retrieved, {
      queue: queueMs,
      retrieve: retrieveMs,
      total: deps.nowMs() - startedMs + queueMs,
    });
    return ended(deps, question, result, []);
  }

  const answer = await generateAnswer(deps, question, retrieved, { signal, begin });
  deps.metrics.stage('prompt', answer.timingsMs.prompt);
  deps.metrics.stage('generate', answer.timingsMs.generate);
  const groundMs = deps.nowMs();
  const grounded = await ground(deps, question, answer, signal);
  const ms = deps.nowMs() - groundMs;
  deps.metrics.stage('ground', ms);
  const result: QuestionResult = {
    ...grounded,
    noMatch: false,
    model: answer.generated.model,
    promptVersion: deps.template.version,
    warnings: [...retrieved.warnings, ...answer.prompt.warnings, ...grounded.warnings],
    timingsMs: {
      queue: queueMs,
      retrieve: retrieveMs,
      ...answer.timingsMs,
      ground: ms,
      total: deps.nowMs() - startedMs + queueMs,
    },
    usage: { ...answer.generated.usage, images: answer.prompt.pictures.length },
  };
  const { citations, boxes, images, claims } = result;
  const prompt = keptPromptOf(answer.prompt, deps.generator.profile);
  return { ...ended(deps, question, result, [{ type: 'citations', attempt, citations, boxes, images, claims }]), prompt };
}

function ended(
  deps: AnswerDeps,
  question: Question,
  result: QuestionResult,
  events: QuestionEventData[],
): QuestionEnd & { status: 'answered' } {
  const at = deps.now();
  return {
    status: 'answered',
    result,
    at,
    events,
    message: deps.messages.answered(question, result, at),
    citedAssets: [
      ...new Set(result.citations.flatMap(({ assetId, itemId }) => [assetId, ...(itemId === null ? [] : [citedItem(itemId)])])),
    ],
  };
}

/** How a cited item stands in the index of citations, beside asset ids. */
export function citedItem(itemId: string): string {
  return `item:${itemId}`;
}

async function ground(deps: AnswerDeps, question: Question, { generated, prompt }: GeneratedAnswer, signal: AbortSignal) {
  const { profile } = deps.generator;
  const sources = prompt.sources.map((source) => ({
    n: source.n,
    citationId: source.citation.citationId,
    text: wordsOf(source),
    citation: source.citation,
    picture: prompt.pictures.find(({ of }) => of === source.n)?.picture ?? null,
  }));
  const parsed = parseAnswer(generated.text, {
    sources,
    pictures: prompt.pictures.map(({ of, picture }) => ({ of, object: picture.object, frame: picture.shown.frame })),
    boxFrame: profile.boxFrame,
    showSteps: question.asked.showSteps,
  });
  deps.metrics.dropped('citations', parsed.dropped.citations);
  deps.metrics.dropped('boxes', parsed.dropped.boxes);
  const checked = await checkClaims(
    parsed.answer,
    sources.map(({ n, citationId, text, picture }) => ({
      n,
      citationId,
      text,
      picture: picture && { type: 'image' as const, bytes: picture.shown.bytes, mediaType: picture.shown.mediaType },
    })),
    { generator: deps.generator, template: deps.claimTemplate, cacheSalt: question.tenant, signal },
  );
  for (const { verdict } of checked.claims) deps.metrics.claim(verdict, 1);
  const citations = parsed.cited.flatMap(({ n, quote }) => {
    const source = sources.find((one) => one.n === n);
    return source ? [{ ...source.citation, quote }] : [];
  });
  const warnings = [...parsed.warnings, ...checked.warnings];
  if (parsed.notFound) warnings.push('not_in_sources: the model says that the sources do not answer this.');
  if (generated.finishReason === 'length') warnings.push('answer_cut: the answer reached its bound of tokens.');
  if (generated.finishReason === 'repeating') warnings.push('answer_repeats: the model repeated itself and was stopped.');
  const { answer, steps, boxes, images } = parsed;
  return { answer, steps, citations, boxes, images, claims: checked.claims, warnings };
}

const EVENTS_A_TIME = 500;

/** The last attempt that listeners were told of, by this worker or another; 0 before the first. */
async function lastAttempt({ ledger }: AnswerDeps, { tenant, questionId }: Question): Promise<number> {
  let last = 0;
  for (let after = 0; ;) {
    const page = await ledger.questionEvents(tenant, questionId, { after, limit: EVENTS_A_TIME });
    for (const { data } of page) if (data.type !== 'done') last = Math.max(last, data.attempt);
    if (page.length < EVENTS_A_TIME) return last;
    after = page.at(-1)?.seq ?? after;
  }
}

function retrievedEvent(attempt: number, { sources, noMatch, degraded }: Retrieved): QuestionEventData {
  return {
    type: 'retrieved',
    attempt,
    noMatch,
    degraded,
    sources: sources.map(({ citation: { citationId, assetId, itemId, title, relevanceScore } }) => ({
      citationId,
      assetId,
      itemId,
      title,
      relevanceScore,
    })),
  };
}

/** The answer where nothing was found: a text of the prompt's version, no model's. */
function notFound(
  { template }: AnswerDeps,
  { asked }: Question,
  { warnings }: Retrieved,
  { queue, retrieve: retrieveMs, total }: { queue: number; retrieve: number; total: number },
): QuestionResult {
  const language = asked.language?.split('-')[0]?.toLowerCase() ?? languageOf(asked.question);
  return {
    answer: template.notFound[language] ?? template.notFound['en'] ?? '',
    steps: null,
    citations: [],
    boxes: [],
    images: [],
    claims: [],
    noMatch: true,
    model: null,
    promptVersion: template.version,
    warnings,
    timingsMs: { queue, retrieve: retrieveMs, prompt: 0, firstToken: null, generate: 0, ground: 0, total },
    usage: { promptTokens: 0, completionTokens: 0, images: 0 },
  };
}

/** By its script alone, so among few: Japanese is written with Chinese characters too. */
function languageOf(question: string): string {
  if (/[\p{Script=Hiragana}\p{Script=Katakana}]/u.test(question)) return 'ja';
  if (/\p{Script=Hangul}/u.test(question)) return 'ko';
  return /\p{Script=Han}/u.test(question) ? 'zh' : 'en';
}
