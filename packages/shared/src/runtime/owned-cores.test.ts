import { expect, test } from '@jest/globals';
import { ownedCores } from './owned-cores.ts';

const coresIn = (files: Record<string, string>, parallelism = 64) =>
  ownedCores({ parallelism, readText: (file) => files[file] ?? null });

test('without a quota the cores are those that the process may be scheduled on', () => {
  expect(coresIn({})).toBe(64);
  expect(coresIn({ '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': 'max 100000\n' })).toBe(64);
});

test.each([
  ['200000 100000', 2],
  ['150000 100000', 2],
  ['50000 100000', 1],
  ['10000000 100000', 64],
])('a quota of %s is %i cores', (max, cores) => {
  expect(coresIn({ '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': `${max}\n` })).toBe(cores);
});

test('the tightest of the groups above counts', () => {
  const files = {
    '/proc/self/cgroup': '0::/kubepods/pod1/box\n',
    '/sys/fs/cgroup/kubepods/pod1/box/cpu.max': 'max 100000',
    '/sys/fs/cgroup/kubepods/pod1/cpu.max': '300000 100000',
    '/sys/fs/cgroup/kubepods/cpu.max': '1600000 100000',
  };
  expect(coresIn(files)).toBe(3);
});

test('the first version of control groups is understood', () => {
  const files = {
    '/proc/self/cgroup': '3:cpuset:/\n2:cpu,cpuacct:/box\n',
    '/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us': '400000\n',
    '/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us': '100000\n',
    '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1\n',
    '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
  };
  expect(coresIn(files)).toBe(4);
});
