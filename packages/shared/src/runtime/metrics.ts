import { Gauge, Registry, collectDefaultMetrics } from 'prom-client';
import { JOBS } from '../contracts/jobs.ts';
import type { JobName } from '../contracts/jobs.ts';
import type { QueueEngine } from '../ports/queue-engine.ts';

/** A registry of the service's own, with the process's metrics in it. */
export function openRegistry(service: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  return registry;
}

/** Depth and age of the queues, asked for when the metrics are; a queue that does not answer leaves its values out. */
export function gaugeQueues(registry: Registry, queue: QueueEngine): void {
  const registers = [registry];
  const jobs = new Gauge({
    name: 'sightline_queue_jobs',
    help: 'Jobs by state.',
    labelNames: ['queue', 'state'],
    registers,
    collect,
  });
  const age = new Gauge({
    name: 'sightline_queue_oldest_waiting_seconds',
    help: 'Age of the oldest waiting job.',
    labelNames: ['queue'],
    registers,
  });
  const laneJobs = new Gauge({
    name: 'sightline_queue_lane_waiting_jobs',
    help: 'Waiting jobs by lane.',
    labelNames: ['queue', 'lane'],
    registers,
  });
  const laneAge = new Gauge({
    name: 'sightline_queue_lane_oldest_waiting_seconds',
    help: 'Age of the oldest waiting job of a lane.',
    labelNames: ['queue', 'lane'],
    registers,
  });
  async function collect(): Promise<void> {
    for (const gauge of [jobs, age, laneJobs, laneAge]) gauge.reset();
    await Promise.all(
      Object.keys(JOBS)
        .filter(isJobName)
        .map(async (name) => {
          const stats = await queue.stats(name).catch(() => null);
          if (!stats) return;
          for (const state of ['waiting', 'active', 'delayed', 'failed'] as const)
            jobs.set({ queue: JOBS[name].queue, state }, stats[state]);
          age.set({ queue: JOBS[name].queue }, stats.oldestWaitingSeconds);
          for (const [lane, { waiting, oldestWaitingSeconds }] of Object.entries(stats.lanes)) {
            laneJobs.set({ queue: JOBS[name].queue, lane }, waiting);
            laneAge.set({ queue: JOBS[name].queue, lane }, oldestWaitingSeconds);
          }
        }),
    );
  }
}

function isJobName(name: string): name is JobName {
  return Object.hasOwn(JOBS, name);
}
