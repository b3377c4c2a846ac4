import { SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import type { Lane } from '@sightline/shared/contracts/jobs';
import type { Outcome } from './encoder.ts';
import { BatchLadder } from './batch-ladder.ts';

/** Thrown by `run` when the process that computes went away: the batch is innocent until it happens twice. */
export class EncoderGoneError extends Error {}

export interface BatchReport {
  group: string;
  lane: Lane;
  count: number;
  rung: number;
  computeMs: number;
  /** Of the longest waiting input of the batch. */
  waitMs: number;
}

interface SchedulerDeps<P, V> {
  /** Computes one batch; `null` marks an input that alone gave no vector. Rejects when the whole batch failed. */
  run(batch: { group: string; payloads: P[]; rung: number; lane: Lane }): Promise<{ values: (V | null)[]; computeMs: number }>;
  rungs(group: string): readonly number[];
  maxBatchMs: number;
  now: () => number;
  observe?: ((report: BatchReport) => void) | undefined;
}

interface Unit<P, V> {
  group: string;
  payload: P;
  lane: Lane;
  queuedAt: number;
  crashes: number;
  settle(outcome: Outcome<V>): void;
  isDropped: boolean;
}

const LANES: Lane[] = ['interactive', 'event', 'bulk'];
/** One computing and one on its way, so that the computing thread never idles between batches. */
const BACKGROUND_SLOTS = 2;
const INTERACTIVE_SLOTS = 2;

/**
 * Forms batches and sends them. Interactive inputs are sent at once, beside what is under way; the encoder process takes them
 * before any batch it has not begun, so they wait behind at most the one being computed, which the ladder keeps within
 * `maxBatchMs`. A batch that fails as a whole is halved until the bad input is alone.
 */
export class BatchScheduler<P, V> {
  readonly #deps: SchedulerDeps<P, V>;
  readonly #queues: Record<Lane, Unit<P, V>[]> = { interactive: [], event: [], bulk: [] };
  /** Halves of failed batches: they go before new ones and are never merged. */
  readonly #halves: { units: Unit<P, V>[]; lane: Lane }[] = [];
  readonly #ladders = new Map<string, BatchLadder>();
  #underWay = { interactive: 0, background: 0 };
  #paused = true;
  #broken: Error | null = null;
  #idle: (() => void)[] = [];

  constructor(deps: SchedulerDeps<P, V>) {
    this.#deps = deps;
  }

  /** One outcome an input, in order. Rejects only when `signal` fires; inputs not yet sent are then dropped. */
  submit(group: string, payloads: P[], lane: Lane, signal?: AbortSignal): Promise<Outcome<V>[]> {
    if (payloads.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (this.#broken) return resolve(payloads.map(() => ({ ok: false, error: this.#broken! })));
      const outcomes: Outcome<V>[] = new Array(payloads.length);
      let left = payloads.length;
      const units = payloads.map((payload, n): Unit<P, V> => {
        const settle = (outcome: Outcome<V>) => {
          outcomes[n] = outcome;
          if (--left > 0) return;
          signal?.removeEventListener('abort', abort);
          resolve(outcomes);
        };
        return { group, payload, lane, queuedAt: this.#deps.now(), crashes: 0, settle, isDropped: false };
      });
      const abort = () => {
        for (const unit of units) unit.isDropped = true;
        this.#queues[lane] = this.#queues[lane].filter((unit) => !unit.isDropped);
        reject(signal!.reason);
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#queues[lane].push(...units);
      this.#pump();
    });
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#broken = null;
    this.#pump();
  }

  /** Fails what waits and what comes until `resume`. */
  fail(error: Error): void {
    this.#broken = error;
    for (const half of this.#halves.splice(0)) for (const unit of half.units) unit.settle({ ok: false, error });
    for (const lane of LANES) for (const unit of this.#queues[lane].splice(0)) unit.settle({ ok: false, error });
  }

  /** Resolves when nothing is under way; call after `pause`. */
  async drained(): Promise<void> {
    if (this.#underWay.interactive + this.#underWay.background > 0)
      await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #pump(): void {
    while (!this.#paused) {
      const batch = this.#nextBatch();
      if (!batch) return;
      void this.#send(batch.units, batch.rung, batch.lane);
    }
  }

  #nextBatch(): { units: Unit<P, V>[]; rung: number; lane: Lane } | null {
    const half = this.#halves.findIndex(({ lane }) => this.#hasSlot(lane));
    if (half >= 0) {
      const { units, lane } = this.#halves.splice(half, 1)[0]!;
      return { units, lane, rung: this.#deps.rungs(units[0]!.group).find((rung) => rung >= units.length)! };
    }
    for (const lane of LANES) {
      if (this.#queues[lane].length > 0 && this.#hasSlot(lane)) return this.#takeFrom(lane);
    }
    return null;
  }

  #hasSlot(lane: Lane): boolean {
    return lane === 'interactive' ? this.#underWay.interactive < INTERACTIVE_SLOTS : this.#underWay.background < BACKGROUND_SLOTS;
  }

  #takeFrom(lane: Lane): { units: Unit<P, V>[]; rung: number; lane: Lane } | null {
    const queue = this.#queues[lane];
    const group = queue[0]!.group;
    const ladder = this.#ladder(group);
    const largest = ladder.largest;
    const places: number[] = [];
    for (let n = 0; n < queue.length && places.length < largest; n++) if (queue[n]!.group === group) places.push(n);
    // The second slot only shortens the gap between full batches; a part-filled one does better to wait and grow.
    if (lane !== 'interactive' && this.#underWay.background > 0 && places.length < largest) return null;
    const { take, rung } = ladder.choose(places.length);
    const taken = new Set(places.slice(0, take));
    const units = [...taken].map((n) => queue[n]!);
    this.#queues[lane] = taken.size === queue.length ? [] : queue.filter((_, n) => !taken.has(n));
    return { units, rung, lane };
  }

  async #send(units: Unit<P, V>[], rung: number, lane: Lane): Promise<void> {
    const slot = lane === 'interactive' ? 'interactive' : 'background';
    const group = units[0]!.group;
    this.#underWay[slot]++;
    const sentAt = this.#deps.now();
    try {
      const { values, computeMs } = await this.#deps.run({ group, payloads: units.map((unit) => unit.payload), rung, lane });
      this.#ladder(group).record(rung, computeMs);
      this.#deps.observe?.({
        group,
        lane,
        count: units.length,
        rung,
        computeMs,
        waitMs: sentAt - Math.min(...units.map((unit) => unit.queuedAt)),
      });
      units.forEach((unit, n) => {
        const value = values[n];
        unit.settle(
          value == null
            ? { ok: false, error: new SightlineError('encoder_failed', 'It gave no usable vector.') }
            : { ok: true, value },
        );
      });
    } catch (error) {
      this.#recover(units, rung, lane, error);
    } finally {
      this.#underWay[slot]--;
      if (this.#underWay.interactive + this.#underWay.background === 0) for (const wake of this.#idle.splice(0)) wake();
      this.#pump();
    }
  }

  #recover(units: Unit<P, V>[], rung: number, lane: Lane, error: unknown): void {
    if (error instanceof EncoderGoneError) {
      const again = units.filter((unit) => ++unit.crashes < 2 && !unit.isDropped);
      const unavailable = new SightlineError('encoder_unavailable', error.message, { cause: error });
      for (const unit of units) if (!again.includes(unit)) unit.settle({ ok: false, error: unavailable });
      // One at a time: should one of them be what ended the process, the others are not taken down with it again.
      if (this.#broken) for (const unit of again) unit.settle({ ok: false, error: this.#broken });
      else for (const unit of again) this.#halves.push({ units: [unit], lane });
      return;
    }
    if (units.length === 1) {
      units[0]!.settle({
        ok: false,
        error: new SightlineError('encoder_failed', toSightlineError(error).detail, { cause: error }),
      });
      return;
    }
    this.#ladder(units[0]!.group).lower(rung);
    const middle = Math.ceil(units.length / 2);
    this.#halves.push({ units: units.slice(0, middle), lane }, { units: units.slice(middle), lane });
  }

  #ladder(group: string): BatchLadder {
    let ladder = this.#ladders.get(group);
    if (!ladder)
      this.#ladders.set(group, (ladder = new BatchLadder(this.#deps.rungs(group), this.#deps.maxBatchMs, this.#deps.now)));
    return ladder;
  }
}
