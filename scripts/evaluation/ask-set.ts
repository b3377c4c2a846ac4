import type { Filter } from '@sightline/shared/contracts/filter';
import type { QuestionView } from '@sightline/shared/contracts/question-http';
import type { ErrorCode } from '@sightline/shared/runtime/errors';
import { ApiError, type ApiClient } from '../api-client.ts';
import { askAndFollow } from '../ask.ts';
import { memoryBytes, watchMemory } from '../process-tree.ts';
import { untilTaken } from '../patience.ts';
import { workAll, type WorkOptions } from './progress.ts';
import type { SetQuestion } from './question-set.ts';
import { requestOf, type System } from './systems.ts';

const LOOK_AT_MEMORY_MS = 250;

/** A question as it is put, and how it went. */
export interface Asking {
  question: SetQuestion;
  language: 'en' | 'zh';
}
export interface Answered extends Asking {
  view: QuestionView;
  /** From the asking to the end, as the client sees it. */
  clientMs: number;
}

export interface AskOptions extends WorkOptions {
  seed: number;
  /** The LoRA adapter that answers; null: the model as it is. */
  adapter: string | null;
  /** A filter that all items pass, where there is one. */
  everything: Filter | null;
  /** Of the stack's process, whose memory is watched; null where it runs elsewhere. */
  pid: number | null;
}

/**
 * Asks a system all that is to be asked, and how long it and what memory it took. A question that the stack refuses is one that failed.
 * Errors: the stack does not answer at all; why it was aborted.
 */
export async function askSet(
  client: ApiClient,
  system: System,
  askings: readonly Asking[],
  { what, ...options }: AskOptions & { what: string },
): Promise<{ answered: Answered[]; wallMs: number; memoryPeakBytes: number | null }> {
  const memory =
    options.pid === null || memoryBytes(options.pid).totalBytes === 0 ? null : watchMemory(options.pid, LOOK_AT_MEMORY_MS);
  const startedMs = performance.now();
  try {
    const answered = await workAll(what, askings, options, async (asking): Promise<Answered> => {
      const request = requestOf(system, asking.question, { ...options, language: asking.language });
      const { view, clientMs } = await ask(client, request, options);
      return { ...asking, view, clientMs };
    });
    return { answered, wallMs: performance.now() - startedMs, memoryPeakBytes: memory?.peak()?.totalBytes ?? null };
  } finally {
    memory?.stop();
  }
}

async function ask(
  client: ApiClient,
  request: ReturnType<typeof requestOf>,
  options: WorkOptions,
): Promise<{ view: QuestionView; clientMs: number }> {
  let startedMs = performance.now();
  const once = () => {
    startedMs = performance.now();
    return askAndFollow(client, request, { signal: options.signal, show: () => {} });
  };
  const view = await untilTaken(once, options).catch((error: unknown) => {
    if (!(error instanceof ApiError)) throw error;
    return unanswered(request.question ?? '', error.code, error.message);
  });
  return { view, clientMs: performance.now() - startedMs };
}

/** A question that was not taken, as one that failed. */
export function unanswered(question: string, code: ErrorCode, detail: string | null): QuestionView {
  return {
    question_id: '',
    status: 'failed',
    question,
    created_at: new Date(0).toISOString(),
    finished_at: null,
    error: { code, detail },
    answer: null,
    steps: null,
    no_match: null,
    citations: [],
    boxes: [],
    images: [],
    claims: [],
    stale: false,
    model: null,
    prompt_version: null,
    warnings: [],
    timings_ms: null,
    usage: null,
    metadata: {},
    links: { self: '', events: '' },
  };
}
