import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

/** What a way of doing it takes: time on the clock, and time of all processors together. */
export interface Cost {
  picturesPerSecond: number;
  cpuMsPerPicture: number;
}

/** The floor, bare-loop.ts, in a process of its own. */
export async function runBareLoop(options: {
  pack: string;
  folder: string;
  threads: number;
  batch: string;
  mode: 'both' | 'decode' | 'encode';
}): Promise<Cost> {
  const { pack, folder, threads, batch, mode } = options;
  const script = fileURLToPath(new URL('bare-loop.ts', import.meta.url));
  const child = spawn(process.execPath, [script, pack, folder, String(threads), batch, mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk));
  await once(child, 'close');
  const printed = z.object({ pictures: z.number(), seconds: z.number(), cpuSeconds: z.number() }).parse(JSON.parse(output));
  return {
    picturesPerSecond: printed.pictures / printed.seconds,
    cpuMsPerPicture: (printed.cpuSeconds / printed.pictures) * 1000,
  };
}
