import { ErrorCode } from 'bullmq';
import type { IQueueBackend, Job, Queue } from 'bullmq';
import { LANE_PLACES, LANE_PRIORITY, type Lane } from '../contracts/jobs.ts';
import type { LaneStats } from '../ports/queue-engine.ts';

/** More places than this are not looked into for the oldest job of a lane: each is a question to the database. */
const PLACES_LOOKED_INTO = 24;
const LANES = Object.keys(LANE_PRIORITY).filter((name): name is Lane => Object.hasOwn(LANE_PRIORITY, name));

type AnyQueue = Queue<unknown, unknown, string, unknown, unknown, string, IQueueBackend>;

/**
 * Depth and oldest job of each lane. Within a place jobs stand by age, so a place's first is its oldest. The age is exact while a
 * lane has at most 24 places in use, else that of the first and last of them.
 */
export async function laneStats(queue: AnyQueue, waiting: number): Promise<Record<Lane, LaneStats>> {
  const stats: Record<Lane, LaneStats> = { interactive: nothing(), event: nothing(), bulk: nothing() };
  if (waiting === 0) return stats;
  const priorities = LANES.flatMap((lane) => Array.from({ length: LANE_PLACES }, (_, place) => LANE_PRIORITY[lane] + place));
  const counts = await queue.getCountsPerPriority(priorities);
  const places = new Map<Lane, number[]>();
  // Waiting jobs stand in order of priority, then age: `first` is where a place begins.
  let first = 0;
  for (const priority of priorities) {
    const count = counts[String(priority)] ?? 0;
    if (count === 0) continue;
    const lane = laneOf(priority);
    stats[lane].waiting += count;
    places.set(lane, [...(places.get(lane) ?? []), first]);
    first += count;
  }
  await Promise.all(
    [...places].map(async ([lane, firsts]) => {
      const looked =
        firsts.length <= PLACES_LOOKED_INTO ? firsts : [...firsts.slice(0, 4), ...firsts.slice(4 - PLACES_LOOKED_INTO)];
      const jobs = await Promise.all(looked.map((at) => queue.getJobs(['prioritized'], at, at, true)));
      const addedAt = Math.min(...jobs.flat().map((job) => job.timestamp));
      if (Number.isFinite(addedAt)) stats[lane].oldestWaitingSeconds = Math.max(0, (Date.now() - addedAt) / 1000);
    }),
  );
  return stats;
}

/** Moves a waiting job; one that runs or is gone stays as it is. */
export async function moveTo(job: Pick<Job, 'changePriority'>, priority: number): Promise<void> {
  await job.changePriority({ priority }).catch((error: unknown) => {
    // Taken and done between the two calls.
    if (!(error instanceof Error && 'code' in error && error.code === ErrorCode.JobNotExist)) throw error;
  });
}

function laneOf(priority: number): Lane {
  return LANES.findLast((lane) => priority >= LANE_PRIORITY[lane]) ?? 'interactive';
}

function nothing(): LaneStats {
  return { waiting: 0, oldestWaitingSeconds: 0 };
}
