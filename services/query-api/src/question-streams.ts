import type { FastifyReply } from 'fastify';
import type { Logger } from 'pino';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { Question, StoredQuestionEvent } from '@sightline/shared/ports/question-ledger';
import { questionEventView, questionView } from './core/question-view.ts';
import { EventStreams, type EventStream, type EventStreamsDeps, type ServerSentEvent } from './event-streams.ts';

export interface QuestionStreamsDeps extends EventStreamsDeps {
  ledger: Pick<Ledger, 'getQuestion' | 'questionEvents'>;
  logger: Logger;
  /** Between two polls of a question of which something comes, and of one that has been quiet for long. */
  intervalMs: number;
  longestIntervalMs: number;
  /** Unix milliseconds. */
  now: () => number;
}

interface Listener {
  stream: EventStream;
  /** What it was sent last. */
  after: number;
}

type Page = { seq: number; message: ServerSentEvent; isLast: boolean }[];

/** One question that is being listened to: one poll of the ledger serves all its listeners, wherever each of them stands. */
interface Channel {
  readonly tenant: string;
  readonly questionId: string;
  readonly listeners: Set<Listener>;
  timer: NodeJS.Timeout | null;
  isPolling: boolean;
  /** Somebody wants a poll at once while one is going. */
  isPoked: boolean;
  /** What was read last, for as long as somebody has not been sent all of it. */
  page: Page;
  /** The last event that was read. */
  newest: number;
  quietSince: number;
}

const EVENTS_A_TIME = 128;
/** A question that has been quiet for a time is looked for after a tenth of it: what comes then is late by a tenth at most. */
const SHARE_OF_QUIET = 0.1;

/**
 * Server-sent events of questions. They cross processes through the ledger, so this polls it, and keeps where each listener stands and at
 * most one page of what was told: one that reads slowly is sent the next events when there is room, however far behind it is.
 */
export class QuestionStreams {
  readonly #deps: QuestionStreamsDeps;
  readonly #streams: EventStreams;
  readonly #channels = new Map<string, Channel>();
  #closed = false;

  constructor(deps: QuestionStreamsDeps) {
    this.#deps = deps;
    this.#streams = new EventStreams(deps);
  }

  /**
   * Takes the reply over: what was told after `after`, then what comes, until the question is over, the listener is gone, or no longer
   * allowed. Error: `overloaded`.
   */
  open(
    question: Pick<Question, 'tenant' | 'questionId'>,
    reply: FastifyReply,
    { after, isStillAllowed }: { after: number; isStillAllowed: () => Promise<boolean> },
  ): void {
    const listener: Listener = { stream: this.#streams.open(reply, isStillAllowed), after };
    const channel = this.#channelOf(question);
    channel.listeners.add(listener);
    listener.stream.onClose(() => this.#drop(channel, listener));
    listener.stream.onRoom(() => {
      if (listener.after < channel.newest) this.#poke(channel);
    });
    this.#poke(channel);
  }

  /** Ends every stream. */
  close(): void {
    this.#closed = true;
    this.#streams.close();
    for (const { timer } of this.#channels.values()) if (timer) clearTimeout(timer);
    this.#channels.clear();
  }

  #channelOf({ tenant, questionId }: Pick<Question, 'tenant' | 'questionId'>): Channel {
    const name = channelName({ tenant, questionId });
    let channel = this.#channels.get(name);
    if (!channel) {
      const state = { timer: null, isPolling: false, isPoked: false, page: [], newest: 0, quietSince: this.#deps.now() };
      this.#channels.set(name, (channel = { tenant, questionId, listeners: new Set(), ...state }));
    }
    return channel;
  }

  #poke(channel: Channel): void {
    channel.isPoked = true;
    if (!channel.isPolling) this.#pollIn(channel, 0);
  }

  #pollIn(channel: Channel, ms: number): void {
    if (this.#closed || channel.listeners.size === 0) return;
    if (channel.timer) clearTimeout(channel.timer);
    channel.timer = setTimeout(() => void this.#poll(channel), ms);
  }

  /** Never rejects: a ledger that is away for a while ends no stream. */
  async #poll(channel: Channel): Promise<void> {
    channel.isPolling = true;
    channel.isPoked = false;
    let hasMore = false;
    try {
      hasMore = await this.#tell(channel);
    } catch (error) {
      this.#deps.logger.warn({ err: error, questionId: channel.questionId }, "a question's events could not be read");
    }
    channel.isPolling = false;
    this.#pollIn(channel, hasMore || channel.isPoked ? 0 : this.#waitMs(channel));
  }

  #waitMs({ quietSince }: Channel): number {
    const { intervalMs, longestIntervalMs, now } = this.#deps;
    return Math.min(longestIntervalMs, Math.max(intervalMs, (now() - quietSince) * SHARE_OF_QUIET));
  }

  /** Goes on from where the hindmost stands that has room, and sends each what it has not. Answers whether there may be more at once. */
  async #tell(channel: Channel): Promise<boolean> {
    const { listeners } = channel;
    const after = Math.min(...[...listeners].flatMap((listener) => (listener.stream.isFull ? [] : [listener.after])));
    if (after === Infinity) return false;
    if (!channel.page.some(({ seq }) => seq === after + 1)) {
      const page = await this.#read(channel, after);
      if (page === null) {
        for (const { stream } of listeners) stream.end();
        return false;
      }
      channel.page = page;
    }
    const { page } = channel;
    for (const listener of listeners) send(listener, page);
    const newest = page.at(-1)?.seq ?? 0;
    if ([...listeners].every((listener) => listener.after >= newest)) channel.page = [];
    return page.length === EVENTS_A_TIME;
  }

  /** Null when the question was pruned, or deleted with its tenant: there is nothing more to tell. */
  async #read(channel: Channel, after: number): Promise<Page | null> {
    const { tenant, questionId } = channel;
    const { ledger, now, longestIntervalMs } = this.#deps;
    const events = await ledger.questionEvents(tenant, questionId, { after, limit: EVENTS_A_TIME });
    const newest = events.at(-1)?.seq ?? 0;
    if (newest > channel.newest) {
      channel.newest = newest;
      channel.quietSince = now();
    }
    const isOver = events.some(({ data }) => data.type === 'done');
    const isLookedFor = isOver || (events.length === 0 && this.#waitMs(channel) >= longestIntervalMs);
    const question = isLookedFor ? await ledger.getQuestion(tenant, questionId) : null;
    if (isLookedFor && !question) return null;
    return events.map((event) => ({
      seq: event.seq,
      message: messageOf(questionId, event, question),
      isLast: event.data.type === 'done',
    }));
  }

  #drop(channel: Channel, listener: Listener): void {
    channel.listeners.delete(listener);
    if (channel.listeners.size > 0) return;
    if (channel.timer) clearTimeout(channel.timer);
    this.#channels.delete(channelName(channel));
  }
}

/** What comes next for it, as far as there is room. */
function send(listener: Listener, page: Page): void {
  const { stream } = listener;
  for (const { seq, message, isLast } of page) {
    // One who came or got room meanwhile may stand further back than this page begins.
    if (seq !== listener.after + 1) continue;
    if (stream.isFull) return;
    stream.send(message);
    listener.after = seq;
    if (isLast) stream.end();
  }
}

function messageOf(questionId: string, { seq, data }: StoredQuestionEvent, question: Question | null): ServerSentEvent {
  if (data.type !== 'done') return { id: seq, event: data.type, data: JSON.stringify(questionEventView(questionId, data)) };
  return { id: data.eventId, event: 'done', data: JSON.stringify(question && questionView(question)) };
}

function channelName({ tenant, questionId }: Pick<Question, 'tenant' | 'questionId'>): string {
  return JSON.stringify([tenant, questionId]);
}
