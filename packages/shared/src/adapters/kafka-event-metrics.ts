import { Counter, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import type { EventType } from '../contracts/events.ts';

export interface EventMetrics {
  published(types: EventType[], ms: number): void;
  failed(): void;
  dead(topic: string, count: number): void;
  restarted(group: string): void;
}

const opened = new WeakMap<Registry, EventMetrics>();

/** Counts what goes into Kafka and what comes out, once for all who use a registry; without one nothing is counted. */
export function openEventMetrics(registry: Registry | undefined): EventMetrics {
  if (!registry) return { published: none, failed: none, dead: none, restarted: none };
  const metrics = opened.get(registry) ?? register(registry);
  opened.set(registry, metrics);
  return metrics;
}

function register(registry: Registry): EventMetrics {
  const registers = [registry];
  const events = new Counter({ name: 'sightline_events_total', help: 'Events published.', labelNames: ['type'], registers });
  const seconds = new Histogram({
    name: 'sightline_event_publish_seconds',
    help: 'How long a publish took, durable at its end.',
    buckets: [0.002, 0.005, 0.02, 0.1, 0.5, 2, 10],
    registers,
  });
  const failures = new Counter({ name: 'sightline_event_publish_failures_total', help: 'Publishes that failed.', registers });
  const dead = new Counter({
    name: 'sightline_events_dead_total',
    help: 'Messages that could not be read and were put aside.',
    labelNames: ['topic'],
    registers,
  });
  const restarts = new Counter({
    name: 'sightline_event_consumer_restarts_total',
    help: 'Consumers that crashed or stood still and were started again.',
    labelNames: ['group'],
    registers,
  });
  return {
    published: (types, ms) => {
      for (const type of types) events.inc({ type });
      seconds.observe(ms / 1000);
    },
    failed: () => failures.inc(),
    dead: (topic, count) => dead.inc({ topic }, count),
    restarted: (group) => restarts.inc({ group }),
  };
}

function none(): void {}
