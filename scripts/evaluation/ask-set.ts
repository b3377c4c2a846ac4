import { setTimeout as sleep } from 'node:timers/promises';
import type { Filter } from '@sightline/shared/contracts/filter';
import type { QuestionView } from '@sightline/shared/contracts/question-http';
import { ERRORS } from '@sightline/shared/runtime/errors';
import { ApiError, type ApiClient } from '../api-client.ts';
import { askAndFollow } from '../ask.ts';
import { memoryBytes, watchMemory } from '../process-tree.ts';
import { workAll, type Progress } from './progress.ts';
import type { SetQuestion } from './question-set.ts';
import { requestOf, type System } from './systems.ts';

const REFUSED_FOR_NOW_MS = 2_000;
const MOST_REFUSALS = 30;
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

export interface AskOptions {
  atOnce: number;
  progress: Progress;
  seed: number;
  /** A filter that all items pass, where there is one. */
  everything: Filter | null;
  signal: AbortSignal;
  /** Of the stack's process, whose memory is watched; null where it runs elsewhere. */
  pid: number | null;
}

/** Asks a system all that is to be asked, and how long it and what memory it took. */
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
      const { view, clientMs } = await ask(client, request, options.signal);
      return { ...asking, view, clientMs };
    });
    return { answered, wallMs: performance.now() - startedMs, memoryPeakBytes: memory?.peak()?.totalBytes ?? null };
  } finally {
    memory?.stop();
  }
}

async function ask(
  client: ApiClient,
  request: Parameters<typeof askAndFollow>[1],
  signal: AbortSignal,
): Promise<{ view: QuestionView; clientMs: number }> {
  for (let refusals = 0; ; refusals++) {
    const startedMs = performance.now();
    try {
      const view = await askAndFollow(client, request, { signal, show: () => {} });
      return { view, clientMs: performance.now() - startedMs };
    } catch (error) {
      const mayPass = error instanceof ApiError && ERRORS[error.code].retryable;
      if (!mayPass || refusals >= MOST_REFUSALS) throw error;
      await sleep(REFUSED_FOR_NOW_MS, undefined, { signal });
    }
  }
}
