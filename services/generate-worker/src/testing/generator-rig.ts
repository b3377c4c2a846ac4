import { pino } from 'pino';
import { Registry } from 'prom-client';
import { openOpenAIGenerator, type OpenAIGeneratorOptions } from '../adapters/openai-generator.ts';
import type { Generated, GenerateRequest, Generator } from '../core/generator.ts';
import { openScriptedModelServer, type ScriptedModelServer, type ScriptedModelServerOptions } from './scripted-model-server.ts';

/** A PNG of one pixel. */
export const PIXEL = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

export const QUESTION: GenerateRequest = {
  system: 'Answer from the sources.',
  content: [{ type: 'text', text: 'Does the cooler fit AM4?' }],
  sampling: {},
  adapter: null,
  schema: null,
  cacheSalt: 'tenant-a',
};

/** Bounds that no test reaches unless it sets them itself. */
const AMPLE: Omit<OpenAIGeneratorOptions, 'baseUrl'> = {
  profile: { model: null, maxImages: 4, imageSidePx: 384, boxFrame: 'thousand', contextTokens: 8_192, tokensPerImage: 729 },
  structured: 'auto',
  logprobs: 'auto',
  sampling: { temperature: 0.3, topP: 0.85, maxTokens: 512, stop: ['<|im_end|>'] },
  inFlight: 32,
  firstTokenTimeoutMs: 60_000,
  tokenTimeoutMs: 60_000,
  timeoutMs: 120_000,
};

export interface Asked {
  answer: Promise<Generated>;
  /** The text as it was handed out. */
  pieces: string[];
  abort: (reason: unknown) => void;
}

export interface GeneratorRig {
  generator: Generator;
  ask: (request?: Partial<GenerateRequest>, onText?: (text: string) => void | Promise<void>) => Asked;
  metric: (name: string) => Promise<string[]>;
  logs: string[];
}

const opened: { close: () => Promise<void> }[] = [];

/** After each test: whatever it opened here. */
export async function closeRigs(): Promise<void> {
  for (let one = opened.pop(); one; one = opened.pop()) await one.close();
}

export async function openServer(options: ScriptedModelServerOptions = {}): Promise<ScriptedModelServer> {
  const server = await openScriptedModelServer(options);
  opened.push(server);
  return server;
}

export function openRig(baseUrl: string, options: Partial<OpenAIGeneratorOptions> = {}): GeneratorRig {
  const registry = new Registry();
  const logs: string[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => logs.push(line) });
  const generator = openOpenAIGenerator({ ...AMPLE, baseUrl, ...options }, { logger, registry });
  opened.push(generator);
  return {
    generator,
    logs,
    ask: (request = {}, onText = () => undefined) => {
      const asker = new AbortController();
      const pieces: string[] = [];
      const answer = generator.generate(
        { ...QUESTION, ...request },
        {
          signal: asker.signal,
          onText: async (text) => {
            pieces.push(text);
            await onText(text);
          },
        },
      );
      // A test may look at other things first.
      answer.catch(() => undefined);
      return { answer, pieces, abort: (reason) => asker.abort(reason) };
    },
    metric: async (name) => (await registry.metrics()).split('\n').filter((line) => line.startsWith(name)),
  };
}

/** Waits until something is so; the test's own time-out is the bound. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5));
}
