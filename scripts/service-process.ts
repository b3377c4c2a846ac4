import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { sleep } from '@sightline/shared/runtime/sleep';

const root = fileURLToPath(new URL('..', import.meta.url));

export type ServiceName = 'query-api' | 'ingest-worker' | 'encode-worker' | 'generate-worker' | 'embedded';

/** Which service a process runs, and as what. */
export interface ProcessPlan {
  name: string;
  service: ServiceName;
  env: Record<string, string>;
}

/** The services of a production stack as they run on one machine; searches have an encode worker of their own. */
export const PRODUCTION_PROCESSES: readonly ProcessPlan[] = [
  { name: 'query-api', service: 'query-api', env: {} },
  { name: 'ingest-worker', service: 'ingest-worker', env: {} },
  { name: 'encode-interactive', service: 'encode-worker', env: { LANES: 'interactive' } },
  { name: 'encode-bulk', service: 'encode-worker', env: { LANES: 'event,bulk' } },
  { name: 'generate-worker', service: 'generate-worker', env: {} },
];

/** One service as a process of its own, as an orchestrator runs it. */
export class ServiceProcess {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #readyUrl: string;
  readonly #exited: Promise<unknown>;
  #output = '';

  /** `env` comes on top of this process's own; `/readyz` is on `healthPort`; `log` takes what it writes. */
  constructor(plan: ProcessPlan, options: { env: Record<string, string>; healthPort: number; log?: Writable }) {
    const { healthPort, log } = options;
    this.name = plan.name;
    this.#readyUrl = `http://127.0.0.1:${healthPort}/readyz`;
    this.#child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', `services/${plan.service}/src/main.ts`], {
      cwd: root,
      // It ends by itself when this process is gone, however that ended.
      env: { ...process.env, NODE_OPTIONS: '', ...plan.env, ...options.env, SIGHTLINE_PARENT_PIPE: `3:${process.pid}` },
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-8_000);
        log?.write(chunk);
      });
    }
    this.#child.stdio[3]?.on('error', () => undefined);
    this.#exited = once(this.#child, 'exit');
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** Null while it runs; the exit code, or the signal's name. */
  get ended(): number | string | null {
    return this.#child.exitCode ?? this.#child.signalCode;
  }

  /** The last it wrote. */
  get output(): string {
    return this.#output;
  }

  get exited(): Promise<unknown> {
    return this.#exited;
  }

  async isReady(): Promise<boolean> {
    try {
      return (await fetch(this.#readyUrl, { signal: AbortSignal.timeout(6_000) })).ok;
    } catch {
      return false;
    }
  }

  /** Throws with its last output when it ends before it is ready, or is not in time. */
  async ready(timeoutMs: number): Promise<void> {
    for (const endsAt = performance.now() + timeoutMs; !(await this.isReady()); await sleep(200)) {
      if (this.ended !== null) throw new Error(`${this.name} ended with ${this.ended}:\n${this.#output}`);
      if (performance.now() > endsAt) throw new Error(`${this.name} was not ready in time:\n${this.#output}`);
    }
  }

  signal(signal: NodeJS.Signals): void {
    if (this.ended === null) this.#child.kill(signal);
  }

  /** SIGTERM, then its exit code. */
  async stop(): Promise<number | string | null> {
    this.signal('SIGTERM');
    await this.#exited;
    return this.ended;
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.#exited;
  }
}
