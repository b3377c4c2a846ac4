import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

type ReadText = (file: string) => string | null;

const readText: ReadText = (file) => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
};

/**
 * Cores that this process may use at a time, at least one: those it may be scheduled on, and no more than its control groups' quota,
 * rounded up. A container with a limit of two on a machine of 64 owns two; sized for 64 it would be throttled most of the time.
 */
export function ownedCores(
  deps: { parallelism: number; readText: ReadText } = { parallelism: availableParallelism(), readText },
): number {
  const quotas = quotasOf(deps.readText);
  return Math.max(1, Math.ceil(Math.min(deps.parallelism, ...quotas)));
}

/** Of the process's own group and of those above it: `cpu.max` (cgroup v2), `cpu.cfs_quota_us` (v1). Linux only; elsewhere none. */
function quotasOf(read: ReadText): number[] {
  const quotas: number[] = [];
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers, group] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (group === undefined || (controllers !== '' && !controllers?.split(',').includes('cpu'))) continue;
    // In a container the group's own folder may be mounted as the root.
    for (let path = group === '/' ? '' : group; ; path = path.slice(0, path.lastIndexOf('/'))) {
      const folders = controllers === '' ? ['/sys/fs/cgroup'] : ['/sys/fs/cgroup/cpu', `/sys/fs/cgroup/${controllers}`];
      for (const folder of folders) quotas.push(...(controllers === '' ? v2(read, folder + path) : v1(read, folder + path)));
      if (path === '') break;
    }
  }
  return quotas;
}

function v2(read: ReadText, folder: string): number[] {
  const [quota, period] = (read(`${folder}/cpu.max`) ?? 'max').trim().split(' ').map(Number);
  return quotaOf(quota, period);
}

function v1(read: ReadText, folder: string): number[] {
  return quotaOf(Number(read(`${folder}/cpu.cfs_quota_us`) ?? NaN), Number(read(`${folder}/cpu.cfs_period_us`) ?? NaN));
}

function quotaOf(quota: number | undefined, period: number | undefined): number[] {
  return quota && period && quota > 0 && period > 0 ? [quota / period] : [];
}
