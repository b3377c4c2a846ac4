import type { Logger } from 'pino';

/** Questions that wait inside the server, and that it works on, whoever sent them. */
export interface ServerLoad {
  waiting: number;
  running: number;
}

const EVERY_MS = 2_000;
const TIMEOUT_MS = 2_000;
const MOST_BYTES = 4 * 1024 ** 2;

/** What vLLM's metrics say, summed over its engines; null where they say nothing of waiting questions. */
export function loadIn(metrics: string): ServerLoad | null {
  const waiting = sumOf(metrics, 'vllm:num_requests_waiting');
  return waiting === null ? null : { waiting, running: sumOf(metrics, 'vllm:num_requests_running') ?? 0 };
}

function sumOf(metrics: string, name: string): number | null {
  let sum: number | null = null;
  for (const line of metrics.split('\n')) {
    if (!line.startsWith(name)) continue;
    // A longer name that only begins so is another metric.
    const [, value] = /^(?:\{.*\})?\s+(\S+)/.exec(line.slice(name.length)) ?? [];
    if (value !== undefined && Number.isFinite(Number(value))) sum = (sum ?? 0) + Number(value);
  }
  return sum;
}

/** Where vLLM has its metrics, beside the `/v1` of its protocol. */
export function metricsUrlBeside(baseUrl: string): string {
  const url = new URL(baseUrl);
  url.pathname = `${url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '')}/metrics`;
  url.search = '';
  return url.href;
}

/**
 * Reads vLLM's load every two seconds while `isBusy`, and gives it to `onLoad`. A server without such metrics is not asked again until
 * `again`. No key is sent: vLLM asks for none here, and the address may be another's.
 */
export function followLoad(
  options: { url: string; isBusy: () => boolean; onLoad: (load: ServerLoad) => void; everyMs?: number },
  deps: { fetch: typeof globalThis.fetch; logger: Logger },
): { again: () => void; close: () => Promise<void> } {
  const closing = new AbortController();
  let isThere = true;
  let looking: Promise<void> | null = null;
  const look = async () => {
    const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    const response = await deps.fetch(options.url, { signal, redirect: 'error' });
    const load = response.ok ? loadIn(await beginningOf(response)) : null;
    if (load) return options.onLoad(load);
    await response.body?.cancel().catch(() => undefined);
    // 5xx may be a server that is only just starting.
    isThere = response.status >= 500;
    if (!isThere)
      deps.logger.info({ status: response.status }, 'the model server shows no load: its limit follows its answers alone');
  };
  const timer = setInterval(() => {
    if (!isThere || looking || !options.isBusy()) return;
    looking = look()
      .catch(() => undefined)
      .finally(() => (looking = null));
  }, options.everyMs ?? EVERY_MS);
  timer.unref();
  return {
    again: () => (isThere = true),
    close: async () => {
      clearInterval(timer);
      closing.abort();
      await looking;
    },
  };
}

async function beginningOf(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MOST_BYTES) break;
  }
  return text;
}
