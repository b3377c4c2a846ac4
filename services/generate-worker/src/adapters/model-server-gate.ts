import { SightlineError } from '@sightline/shared/runtime/errors';
import type { Logger } from 'pino';
import { CircuitBreaker } from '../core/circuit-breaker.ts';
import { InFlightLimit } from '../core/in-flight-limit.ts';
import { Slots } from '../core/slots.ts';
import type { GeneratorMetrics } from '../generator-metrics.ts';
import { failureOf } from './generator-failure.ts';

export interface GateOptions {
  /** The most requests at once. */
  inFlight: number;
  /** Failures in a row, each after its own retries, that open the circuit. */
  failuresToOpen: number;
  /** Cut from what the server says. */
  secret: string | undefined;
  /** Throws while the server is down. */
  probe: () => Promise<unknown>;
  /** It answers again, and may be another server. */
  onUp: () => void;
}

export interface GateDeps {
  now: () => number;
  random: () => number;
  metrics: GeneratorMetrics;
  logger: Logger;
}

/** What every request to the model server passes: the limit in flight, the circuit, and what is counted. */
export class ModelServerGate {
  readonly #options: GateOptions;
  readonly #deps: GateDeps;
  readonly #limit: InFlightLimit;
  readonly #breaker: CircuitBreaker;
  readonly #slots: Slots;
  readonly #closing = new AbortController();
  #probeTimer: NodeJS.Timeout | undefined;
  #holdTimer: NodeJS.Timeout | undefined;

  constructor(options: GateOptions, deps: GateDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#limit = new InFlightLimit(options.inFlight, deps.now);
    this.#breaker = new CircuitBreaker(options.failuresToOpen, deps);
    this.#slots = new Slots(() => (this.#isOpen || this.#limit.heldMs > 0 ? 0 : this.#limit.value));
    this.#show();
  }

  get inFlight(): number {
    return this.#slots.taken;
  }

  limit(): number {
    if (this.#isOpen) return 0;
    return this.#limit.heldMs > 0 ? Math.min(this.#limit.value, this.#slots.taken) : this.#limit.value;
  }

  /** Runs `ask` once there is room; it says when the first token comes. Errors: those of the port. */
  async run<T>(
    kind: 'answer' | 'yes_no',
    asker: AbortSignal,
    ask: (signal: AbortSignal, onFirstToken: () => void) => Promise<{ value: T; outcome: string }>,
  ): Promise<T> {
    const signal = AbortSignal.any([asker, this.#closing.signal]);
    const { metrics, now } = this.#deps;
    let giveBack: (() => void) | undefined;
    let hasBegun = false;
    let began = 0;
    const beganAt = () => now() - startedAt;
    let startedAt = now();
    try {
      signal.throwIfAborted();
      if (this.#isOpen) throw this.#away();
      giveBack = await this.#slots.take(signal);
      [began, startedAt] = [this.#limit.begin(), now()];
      this.#show();
      const onFirstToken = () => {
        if (!hasBegun) metrics.observeFirstToken(beganAt() / 1_000);
        hasBegun = true;
        this.#answered();
      };
      const { value, outcome } = await ask(signal, onFirstToken);
      this.#answered();
      this.#limit.answered(began, this.#slots.taken);
      metrics.count(kind, outcome);
      return value;
    } catch (thrown) {
      if (signal.aborted) {
        metrics.count(kind, 'cancelled');
        throw signal.reason;
      }
      if (thrown instanceof ListenerFailed) {
        metrics.count(kind, 'cancelled');
        throw thrown.cause;
      }
      const error = giveBack ? this.#failed(thrown, { began, hasBegun }) : failureOf(thrown).error;
      metrics.count(kind, error.code);
      throw error;
    } finally {
      if (giveBack) metrics.observeSeconds(kind, beganAt() / 1_000);
      giveBack?.();
      this.#show();
    }
  }

  observeLoad(load: { waiting: number; running: number }): void {
    this.#limit.observed(load);
    this.#show();
  }

  /** It answers, if only what is no work. */
  isThere(): void {
    if (this.#breaker.probeSucceeded()) this.#up();
  }

  close(): void {
    clearTimeout(this.#probeTimer);
    clearTimeout(this.#holdTimer);
    this.#closing.abort(new SightlineError('generator_unavailable', 'This worker is closing.'));
  }

  get #isOpen(): boolean {
    return this.#breaker.state !== 'closed';
  }

  #away(): SightlineError {
    return new SightlineError('generator_unavailable', 'It did not answer the last times; it is probed until it does.');
  }

  #answered(): void {
    if (this.#breaker.succeeded()) this.#up();
  }

  #up(): void {
    this.#deps.logger.info('the model server answers again');
    clearTimeout(this.#probeTimer);
    this.#limit.reset();
    this.#options.onUp();
    this.#show();
    this.#slots.pump();
  }

  #failed(thrown: unknown, request: { began: number; hasBegun: boolean }): SightlineError {
    const failure = failureOf(thrown, this.#options.secret);
    if (failure.isOverload) this.#overloaded(request.began, failure.retryAfterMs);
    const isDown = !request.hasBegun && (failure.isDown || failure.error.code === 'generator_timeout');
    if (isDown) this.#down(failure.error);
    else if (failure.status !== null && !failure.isDown) this.#answered();
    return failure.error;
  }

  #overloaded(began: number, retryAfterMs: number | null): void {
    this.#limit.overloaded(began, retryAfterMs);
    const { heldMs } = this.#limit;
    if (heldMs === 0) return;
    clearTimeout(this.#holdTimer);
    this.#holdTimer = setTimeout(() => this.#slots.pump(), Math.ceil(heldMs) + 1);
    this.#holdTimer.unref();
  }

  #down(error: SightlineError): void {
    if (!this.#breaker.failed()) return;
    this.#deps.logger.warn({ err: error }, 'the model server is down: nothing is asked of it until a probe is answered');
    this.#slots.refuseWaiting(this.#away());
    this.#awaitProbe();
    this.#show();
  }

  #awaitProbe(): void {
    const inMs = this.#breaker.probeInMs;
    if (inMs === null || this.#closing.signal.aborted) return;
    this.#probeTimer = setTimeout(() => void this.#probe(), Math.ceil(inMs) + 1);
    this.#probeTimer.unref();
  }

  async #probe(): Promise<void> {
    // A clock that moved between setting the timer and its firing.
    if (!this.#breaker.beginProbe()) return this.#awaitProbe();
    try {
      await this.#options.probe();
      this.isThere();
    } catch (thrown) {
      const { isDown, error } = failureOf(thrown);
      if (!isDown && error.code !== 'generator_timeout') return this.isThere();
      this.#breaker.probeFailed();
      this.#awaitProbe();
    }
  }

  #show(): void {
    this.#deps.metrics.show({ inFlight: this.#slots.taken, limit: this.limit(), isOpen: this.#isOpen });
  }
}

/** What was to be told of the answer's text could not be: the teller's own error, no fault of the model server. */
export class ListenerFailed extends Error {
  constructor(cause: unknown) {
    super('the listener failed', { cause });
  }
}
