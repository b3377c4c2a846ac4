import { readFileSync } from 'node:fs';
import { processTree } from '../scripts/process-tree.ts';

/** Linux counts in hundredths of a second (USER_HZ) on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

/** Processor time that a process and its living descendants have taken so far, from /proc. */
export function cpuSeconds(pid: number): number {
  return [...cpuSecondsByName(pid, new Set()).values()].reduce((sum, seconds) => sum + seconds, 0);
}

/** The same by the processes' names, without those that are `left` out. */
export function cpuSecondsByName(pid: number, left: ReadonlySet<number>): Map<string, number> {
  const byName = new Map<string, number>();
  for (const member of processTree(pid)) {
    if (left.has(member)) continue;
    try {
      const stat = readFileSync(`/proc/${member}/stat`, 'utf8');
      // proc(5): utime and stime are fields 14 and 15; the name in brackets, field 2, may hold blanks.
      const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const seconds = (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
      byName.set(name, (byName.get(name) ?? 0) + seconds);
    } catch {
      continue;
    }
  }
  return byName;
}
