import { createHash } from 'node:crypto';
import { newId, questionPictureKey, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import { LANE_PLACES } from '@sightline/shared/contracts/jobs';
import type { ParsedQuestionRequest } from '@sightline/shared/contracts/question-http';
import type { AskedQuestion, QuestionWebhook } from '@sightline/shared/contracts/questions';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { Question } from '@sightline/shared/ports/question-ledger';
import type { QueueEngine } from '@sightline/shared/ports/queue-engine';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { FINAL_QUESTION_STATUSES } from './question-view.ts';
import { readQuestionPicture, type QuestionPicture, type QuestionPictureDeps } from './question-picture.ts';

export interface AskQuestionDeps extends QuestionPictureDeps {
  ledger: Pick<Ledger, 'createQuestion' | 'getWebhook' | 'questionBacklog'>;
  queue: Pick<QueueEngine, 'add'>;
  store: Pick<ObjectStore, 'put' | 'delete'>;
  /** Throws what is wrong with an address that a question is to be told to. */
  judgeWebhookUrl: (url: string) => void;
  /** Questions of all tenants that may be unfinished at once. */
  maxBacklog: number;
  /** Of one tenant: what it asks leaves room for the others. */
  maxOfTenant: number;
  /** Unix milliseconds. */
  now: () => number;
  warn: (error: unknown, message: string) => void;
}

export interface Asker {
  tenant: string;
  traceId: string;
  idempotencyKey?: string | undefined;
  /** Aborts when nobody waits for the answer any more. */
  signal?: AbortSignal | undefined;
}

const KEEP_IDEMPOTENCY_KEY_MS = 24 * 3_600_000;
const LONGEST_RETRY_SECONDS = 300;

/**
 * Writes a question down, with its picture in the object store before it, and has it answered; the question is durable when this
 * returns, its job soon: where the queue does not take it now, the worker's sweep adds it. A question that is sent again under its
 * idempotency key is answered as it was the first time, and its job is added again, because whoever sent it first may have died in
 * between. Errors: `question_backlog_full`, `idempotency_key_reused`, `webhook_not_found`, those of the picture and of `judgeWebhookUrl`.
 */
export async function askQuestion(
  deps: AskQuestionDeps,
  request: ParsedQuestionRequest,
  asker: Asker,
): Promise<{ question: Question; isNew: boolean }> {
  const { tenant } = asker;
  const webhook = await checkedWebhook(deps, request.webhook, tenant);
  // What would be refused is not fetched and stored first; whoever repeats a question may have it answered all the same.
  if (request.image && asker.idempotencyKey === undefined) await assertRoom(deps);
  const picture = request.image ? await readQuestionPicture(deps, request.image, asker) : null;
  const questionId = newId();
  const stored = await storePicture(deps, picture, questionPictureKey(tenant, questionId));

  const asked = askedOf(request, { webhook, picture: stored?.picture ?? null });
  const created = await createQuestion(deps, asker, { questionId, asked, digest: digestOf(request, picture) }).catch(
    async (error: unknown) => {
      // After any other error the question may stand there all the same, and need its picture.
      if (error instanceof SightlineError && REFUSALS.has(error.code)) await stored?.drop();
      throw error;
    },
  );
  const { question, ahead } = created;
  // A ledger that tried twice found what it wrote itself the first time.
  const isNew = created.isNew || question.questionId === questionId;
  if (!isNew) await stored?.drop();
  if (!FINAL_QUESTION_STATUSES.includes(question.status)) {
    const job = { tenant, questionId: question.questionId, traceId: question.traceId };
    // The more a tenant has asked, the further back: one tenant's thousand questions do not hold up another's one.
    const options = { lane: 'interactive', jobId: question.questionId, place: Math.min(LANE_PLACES - 1, ahead) } as const;
    await deps.queue.add('answer', job, options).catch((error: unknown) => deps.warn(error, 'a question waits for the sweep'));
  }
  return { question, isNew };
}

/** Puts what came along into the object store. A picture that cannot be dropped again goes with those of questions no longer kept. */
async function storePicture(
  { store, warn }: AskQuestionDeps,
  picture: QuestionPicture | null,
  key: string,
): Promise<{ picture: { key: string } | { assetId: string }; drop: () => Promise<void> } | null> {
  if (!picture) return null;
  if ('assetId' in picture) return { picture, drop: async () => {} };
  const place = { bucket: SYSTEM_BUCKET, key };
  await store.put(place, picture.bytes, { contentType: 'application/octet-stream' });
  const drop = () => store.delete(place).catch((error: unknown) => warn(error, "a question's picture was left over"));
  return { picture: { key }, drop };
}

const REFUSALS: ReadonlySet<string> = new Set(['question_backlog_full', 'idempotency_key_reused']);

/**
 * When to ask again after `question_backlog_full`, in seconds. A queue's wait is its length over its rate (Little's law), and that
 * is how long the oldest question that is not finished has waited.
 */
export async function retryAfterSeconds({ ledger, now }: Pick<AskQuestionDeps, 'ledger' | 'now'>): Promise<number> {
  const oldest = await ledger.questionBacklog().then(
    ({ oldestCreatedAt }) => oldestCreatedAt,
    () => null,
  );
  const waitedSeconds = oldest === null ? 0 : Math.ceil((now() - oldest) / 1_000);
  return Math.min(LONGEST_RETRY_SECONDS, Math.max(1, waitedSeconds));
}

async function assertRoom({ ledger, maxBacklog }: AskQuestionDeps): Promise<void> {
  const { queued, running } = await ledger.questionBacklog();
  if (queued + running >= maxBacklog) throw new SightlineError('question_backlog_full');
}

async function checkedWebhook(
  { ledger, judgeWebhookUrl }: AskQuestionDeps,
  webhook: ParsedQuestionRequest['webhook'],
  tenant: string,
): Promise<QuestionWebhook | null> {
  if (!webhook) return null;
  if ('url' in webhook) {
    judgeWebhookUrl(webhook.url);
    return webhook;
  }
  if (!(await ledger.getWebhook(tenant, webhook.webhook_id))) throw new SightlineError('webhook_not_found');
  return { webhookId: webhook.webhook_id };
}

function createQuestion(
  { ledger, maxBacklog, maxOfTenant, now }: AskQuestionDeps,
  { tenant, traceId, idempotencyKey: key }: Asker,
  { questionId, asked, digest }: { questionId: string; asked: AskedQuestion; digest: string },
): ReturnType<Ledger['createQuestion']> {
  const createdAt = now();
  const idempotency = key === undefined ? {} : { idempotency: { key, digest, keepUntil: createdAt + KEEP_IDEMPOTENCY_KEY_MS } };
  return ledger.createQuestion({ questionId, tenant, traceId, asked, createdAt }, { maxBacklog, maxOfTenant, ...idempotency });
}

function askedOf(request: ParsedQuestionRequest, checked: Pick<AskedQuestion, 'webhook' | 'picture'>): AskedQuestion {
  const { question, filter, mode, alpha, k, max_images: maxImages, show_steps: showSteps, language, adapter, metadata } = request;
  const { temperature, top_p: topP, max_tokens: maxTokens, stop, seed } = request;
  return {
    question,
    filter: filter ?? null,
    mode,
    alpha,
    k,
    maxImages: maxImages ?? null,
    showSteps,
    language: language ?? null,
    adapter: adapter ?? null,
    sampling: {
      ...(temperature !== undefined && { temperature }),
      ...(topP !== undefined && { topP }),
      ...(maxTokens !== undefined && { maxTokens }),
      ...(stop !== undefined && { stop }),
      ...(seed !== undefined && { seed }),
    },
    metadata,
    ...checked,
  };
}

/**
 * What makes two requests the same question: all that was asked, defaults filled in and names in order. Of a picture that came along
 * its bytes, of an address the address: what lies there may be another the next time, and the question is the same.
 */
function digestOf(request: ParsedQuestionRequest, picture: QuestionPicture | null): string {
  const isData = picture && 'bytes' in picture && request.image && 'data' in request.image;
  const image = isData ? { sha256: createHash('sha256').update(picture.bytes).digest('hex') } : request.image;
  const inOrder = (_: string, value: unknown): unknown =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  return createHash('sha256')
    .update(JSON.stringify({ ...request, image }, inOrder))
    .digest('hex');
}
