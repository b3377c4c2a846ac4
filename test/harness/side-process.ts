import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const START_TIMEOUT_MS = 30_000;

/** A process beside the stack that a test kills and starts again with the same arguments: a model server, a receiver of webhooks. */
export class SideProcess {
  readonly #file: string;
  readonly #args: string[];
  #child: ChildProcess;
  #output = '';

  private constructor(file: string, args: string[]) {
    this.#file = file;
    this.#args = args;
    this.#child = this.#spawn();
  }

  /** Waits for its first line. */
  static async start(file: string, args: string[]): Promise<SideProcess> {
    const process = new SideProcess(file, args);
    await process.#spoken();
    return process;
  }

  /** SIGKILL, then again after a pause. */
  async killAndStart(pauseMs: number): Promise<void> {
    await this.kill();
    await sleep(pauseMs);
    this.#child = this.#spawn();
    await this.#spoken();
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }

  #spawn(): ChildProcess {
    this.#output = '';
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', this.#file, ...this.#args], {
      cwd: root,
      env: { ...process.env, NODE_OPTIONS: '' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-8_000)));
    return child;
  }

  async #spoken(): Promise<void> {
    for (const endsAt = performance.now() + START_TIMEOUT_MS; !this.#output.includes('\n'); await sleep(20)) {
      const isOver = this.#child.exitCode !== null || this.#child.signalCode !== null || performance.now() > endsAt;
      if (isOver) throw new Error(`${this.#file} did not come up:\n${this.#output}`);
    }
  }
}
