import { readFileSync } from 'node:fs';
import { processTree } from '../scripts/process-tree.ts';

/** Linux counts in hundredths of a second (USER_HZ) on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

/** Processor time that a process and its living descendants have taken so far, from /proc. */
export function cpuSeconds(pid: number): number {
  let ticks = 0;
  for (const member of processTree(pid)) {
    try {
      const stat = readFileSync(`/proc/${member}/stat`, 'utf8');
      // proc(5): utime and stime are fields 14 and 15; the name in brackets, field 2, may hold blanks.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      continue;
    }
  }
  return ticks / TICKS_PER_SECOND;
}
