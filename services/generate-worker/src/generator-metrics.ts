import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** What is measured of the model server. */
export interface GeneratorMetrics {
  /** `outcome`: how the answer finished, the error's code, or `cancelled`. */
  count: (kind: 'answer' | 'yes_no', outcome: string) => void;
  observeFirstToken: (seconds: number) => void;
  observeSeconds: (kind: 'answer' | 'yes_no', seconds: number) => void;
  countTokens: (usage: { promptTokens: number; completionTokens: number }) => void;
  show: (state: { inFlight: number; limit: number; isOpen: boolean }) => void;
}

const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

const opened = new WeakMap<Registry, GeneratorMetrics>();

export function openGeneratorMetrics(registry: Registry): GeneratorMetrics {
  const metrics = opened.get(registry) ?? newGeneratorMetrics(registry);
  opened.set(registry, metrics);
  return metrics;
}

function newGeneratorMetrics(registry: Registry): GeneratorMetrics {
  const registers = [registry];
  const requests = new Counter({
    name: 'sightline_generator_requests_total',
    help: 'Requests to the model server, by how they ended.',
    labelNames: ['kind', 'outcome'],
    registers,
  });
  const firstToken = new Histogram({
    name: 'sightline_generator_first_token_seconds',
    help: 'From sending a question to the first token of its answer.',
    buckets: SECONDS,
    registers,
  });
  const seconds = new Histogram({
    name: 'sightline_generator_request_seconds',
    help: 'From sending a request to its end, answered or not.',
    labelNames: ['kind'],
    buckets: SECONDS,
    registers,
  });
  const tokens = new Counter({
    name: 'sightline_generator_tokens_total',
    help: 'Tokens of prompts and of answers, as the server counts them.',
    labelNames: ['kind'],
    registers,
  });
  const inFlight = new Gauge({ name: 'sightline_generator_in_flight', help: 'Requests with the model server.', registers });
  const limit = new Gauge({ name: 'sightline_generator_limit', help: 'Requests that may be with it at once.', registers });
  const open = new Gauge({
    name: 'sightline_generator_circuit_open',
    help: '1 while the model server is taken to be down and is only probed.',
    registers,
  });
  return {
    count: (kind, outcome) => requests.inc({ kind, outcome }),
    observeFirstToken: (value) => firstToken.observe(value),
    observeSeconds: (kind, value) => seconds.observe({ kind }, value),
    countTokens: ({ promptTokens, completionTokens }) => {
      tokens.inc({ kind: 'prompt' }, promptTokens);
      tokens.inc({ kind: 'completion' }, completionTokens);
    },
    show: (state) => {
      inFlight.set(state.inFlight);
      limit.set(state.limit);
      open.set(state.isOpen ? 1 : 0);
    },
  };
}
