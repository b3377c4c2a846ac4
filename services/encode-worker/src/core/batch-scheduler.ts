import { SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import type { Lane } from '@sightline/shared/contracts/jobs';
import type { Outcome } from './encoder.ts';
import { BatchLadder } from './batch-ladder.ts';
import { EncoderGoneError, OutOfMemoryError } from './encoder-faults.ts';

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
  /**
   * Computes one batch; `null` marks an input that alone gave no vector. Rejects when the whole batch failed: with
   * EncoderGoneError, OutOfMemoryError, or what the encoder says.
   */
  run(batch: { group: string; payloads: P[]; rung: number; lane: Lane }): Promise<{ values: (V | null)[]; computeMs: number }>;
  rungs(group: string): readonly number[];
  /** There was no memory for the smallest batch: what computes is to be replaced, with `pause` and `resume` around it. */
  renew(): void;
  maxBatchMs: number;
  now: () => number;
  observe?: ((report: BatchReport) => void) | undefined;
}

interface Unit<P, V> {
  group: string;
  payload: P;
  lane: Lane;
  queuedAt: number;
  /** How often computing this input alone ended the process, or there was no memory for it. */
  deaths: number;
  shortages: number;
  settle(outcome: Outcome<V>): void;
  isDropped: boolean;
}

const LANES: Lane[] = ['interactive', 'event', 'bulk'];
/** One computing and one on its way, so that the computing thread never idles between batches. */
const BACKGROUND_SLOTS = 2;
const INTERACTIVE_SLOTS = 2;
/** A process may end by chance while it computes an input alone; twice it is the input. */
const MAX_DEATHS = 2;
const MAX_SHORTAGES = 2;

/**
 * Forms batches and sends them. Interactive inputs are sent at once, beside what is under way; the encoder process takes them
 * before any batch it has not begun, so they wait behind at most the one being computed, which the ladder keeps within
 * `maxBatchMs`. A batch that fails as a whole is halved until the bad input is alone; it fails with `encoder_failed`. What the
 * encoder had not begun with when its process went away is sent again as it was.
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
        return { group, payload, lane, queuedAt: this.#deps.now(), deaths: 0, shortages: 0, settle, isDropped: false };
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
    for (let n = 0; n < this.#halves.length;) {
      const { units: all, lane } = this.#halves[n]!;
      const units = all.filter((unit) => !unit.isDropped);
      if (units.length === 0) this.#halves.splice(n, 1);
      else if (!this.#hasSlot(lane)) n++;
      else {
        const { group } = units[0]!;
        // What failed meanwhile may have lowered the ladder further.
        const taken = units.splice(0, this.#ladder(group).largest);
        if (units.length > 0) this.#halves[n] = { units, lane };
        else this.#halves.splice(n, 1);
        return { units: taken, lane, rung: this.#deps.rungs(group).find((rung) => rung >= taken.length)! };
      }
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
        if (value != null) unit.settle({ ok: true, value });
        // A neighbour may have spoilt it: dynamically quantised graphs scale all rows of a batch together.
        else if (units.length > 1) this.#again([unit], lane);
        else unit.settle({ ok: false, error: new SightlineError('encoder_failed', 'It gave no usable vector.') });
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
    if (error instanceof EncoderGoneError && !error.wasComputing) return this.#again(units, lane);
    const ladder = this.#ladder(units[0]!.group);
    if (units.length > 1) {
      // The system ends a process that takes too much memory, so that an end, too, may have been for want of it.
      ladder.lower(rung, { guess: !(error instanceof OutOfMemoryError) });
      const middle = Math.ceil(units.length / 2);
      this.#again(units.slice(0, middle), lane);
      this.#again(units.slice(middle), lane);
      return;
    }
    const unit = units[0]!;
    if (error instanceof OutOfMemoryError) {
      // Every input of a group takes the same memory: it is not this one's fault.
      if (++unit.shortages < MAX_SHORTAGES) {
        this.#again(units, lane);
        this.#deps.renew();
      } else {
        const detail = 'There is no memory for even one input.';
        unit.settle({ ok: false, error: new SightlineError('encoder_unavailable', detail, { cause: error }) });
      }
      return;
    }
    if (error instanceof EncoderGoneError && ++unit.deaths < MAX_DEATHS) return this.#again(units, lane);
    ladder.forgive();
    const detail = error instanceof EncoderGoneError ? `Computing it alone: ${error.message}.` : toSightlineError(error).detail;
    unit.settle({ ok: false, error: new SightlineError('encoder_failed', detail, { cause: error }) });
  }

  /** Before anything new, and never merged with it. */
  #again(units: Unit<P, V>[], lane: Lane): void {
    if (this.#broken) for (const unit of units) unit.settle({ ok: false, error: this.#broken });
    else this.#halves.push({ units, lane });
  }

  #ladder(group: string): BatchLadder {
    let ladder = this.#ladders.get(group);
    if (!ladder)
      this.#ladders.set(group, (ladder = new BatchLadder(this.#deps.rungs(group), this.#deps.maxBatchMs, this.#deps.now)));
    return ladder;
  }
}
