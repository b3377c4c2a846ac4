const FIRST_PROBE_MS = 1_000;
const LAST_PROBE_MS = 30_000;

export type CircuitState = 'closed' | 'open' | 'probing';

/**
 * Opens after `failuresToOpen` failures in a row and stays so until a probe, or anything else, is answered. Probes come after one
 * second, then ever later up to thirty, each at a random half to whole of that, so that the workers of a server that comes back
 * do not ask it together. A server may answer probes and still do no work: until it has done some, one failure opens the circuit again.
 */
export class CircuitBreaker {
  readonly #failuresToOpen: number;
  readonly #random: () => number;
  readonly #now: () => number;
  #failures = 0;
  #state: CircuitState = 'closed';
  #probes = 0;
  #probeAt = 0;

  constructor(failuresToOpen: number, deps: { now: () => number; random: () => number }) {
    this.#failuresToOpen = failuresToOpen;
    this.#now = deps.now;
    this.#random = deps.random;
  }

  get state(): CircuitState {
    return this.#state;
  }

  /** Until the next probe is due; null while none is. */
  get probeInMs(): number | null {
    return this.#state === 'open' ? Math.max(0, this.#probeAt - this.#now()) : null;
  }

  /** Work was done. Whether that closed it. */
  succeeded(): boolean {
    this.#failures = 0;
    this.#probes = 0;
    return this.#close();
  }

  /** Whether that opened it. */
  failed(): boolean {
    if (this.#state !== 'closed') return false;
    this.#failures++;
    if (this.#failures < this.#failuresToOpen) return false;
    this.#wait();
    return true;
  }

  /** Takes the probe that is due; false where none is, or another has taken it. */
  beginProbe(): boolean {
    if (this.probeInMs !== 0) return false;
    this.#state = 'probing';
    return true;
  }

  /** Whether that closed it. */
  probeSucceeded(): boolean {
    if (this.#state !== 'closed') this.#failures = this.#failuresToOpen - 1;
    return this.#close();
  }

  probeFailed(): void {
    if (this.#state === 'probing') this.#wait();
  }

  #close(): boolean {
    const wasOpen = this.#state !== 'closed';
    this.#state = 'closed';
    return wasOpen;
  }

  #wait(): void {
    const atMost = Math.min(LAST_PROBE_MS, FIRST_PROBE_MS * 2 ** this.#probes);
    this.#probes++;
    this.#state = 'open';
    this.#probeAt = this.#now() + atMost * (0.5 + this.#random() / 2);
  }
}
