import { readFileSync, readdirSync } from 'node:fs';

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Another user's process, gone meanwhile, or a system without /proc.
    return '';
  }
}

/** The fields of /proc/<pid>/stat behind the name, which may itself hold spaces and brackets: state, parent, ... */
function statOf(pid: number): string[] {
  const stat = textOf(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** A process and all its descendants, from /proc; the process alone where there is none. */
export function processTree(pid: number): number[] {
  const childrenOf = new Map<number, number[]>();
  let names: string[] = [];
  try {
    names = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  } catch {
    return [pid];
  }
  for (const name of names) {
    const parent = Number(statOf(Number(name))[1]);
    childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), Number(name)]);
  }
  const tree = [pid];
  for (const member of tree) tree.push(...(childrenOf.get(member) ?? []));
  return tree;
}

/** Memory of a process and its descendants in bytes, by process name; shared pages counted once where the kernel tells (Pss). */
export function memoryBytes(pid: number): { totalBytes: number; byName: Record<string, number> } {
  const byName: Record<string, number> = {};
  for (const member of processTree(pid)) {
    const kilobytes =
      /^Pss:\s+(\d+) kB/m.exec(textOf(`/proc/${member}/smaps_rollup`))?.[1] ??
      /^VmRSS:\s+(\d+) kB/m.exec(textOf(`/proc/${member}/status`))?.[1];
    if (kilobytes === undefined) continue;
    const name = textOf(`/proc/${member}/comm`).trim();
    byName[name] = (byName[name] ?? 0) + Number(kilobytes) * 1024;
  }
  return { totalBytes: Object.values(byName).reduce((sum, bytes) => sum + bytes, 0), byName };
}

/** Samples the memory of a process tree and keeps its peak; `peak()` is null where the system does not tell. */
export function watchMemory(pid: number, everyMs: number): { peak(): ReturnType<typeof memoryBytes> | null; stop(): void } {
  let peak: ReturnType<typeof memoryBytes> | null = null;
  const look = () => {
    const now = memoryBytes(pid);
    if (now.totalBytes > (peak?.totalBytes ?? 0)) peak = now;
    return peak;
  };
  const timer = setInterval(look, everyMs);
  timer.unref();
  return { peak: look, stop: () => clearInterval(timer) };
}

/** Whether a process lives; one that has ended but was not waited for does not. */
export function isRunning(pid: number): boolean {
  const [state = ''] = statOf(pid);
  return state !== '' && state !== 'Z';
}
