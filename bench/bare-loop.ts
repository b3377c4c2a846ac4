/**
 * The floor that the pipeline is measured against: read, decode and encode a folder's pictures with the same decoder, graph and
 * threads, and nothing else: no queue, no index, no ledger, no checks. Decoding runs one batch ahead of encoding, as any loop worth
 * measuring against does. `decode` leaves the encoder out; `encode` decodes one batch and encodes it again and again, for as many
 * pictures as the folder has. Prints one JSON line.
 *
 *     node bench/bare-loop.ts <pack> <folder> <threads> <batch> <both|decode|encode>
 */
import { once } from 'node:events';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { SharpDecoder } from '@sightline/shared/adapters/sharp-decoder';
import { readEncoderPack } from '@sightline/encode-worker/adapters/pack-reader';
import { viewLayouts } from '@sightline/shared/pictures/picture-view';

const [packDirectory = '', folder = '', threadsText = '2', batchText = '8', mode = 'both'] = process.argv.slice(2);
const threads = Number(threadsText);
const batchSize = Number(batchText);
const pack = await readEncoderPack(packDirectory);
const { plan } = pack;
const decoder = new SharpDecoder(plan, viewLayouts(plan, pack.multiScale));
const paths = (await readdir(folder)).sort().map((name) => join(folder, name));
const plane = plan.input.widthPx * plan.input.heightPx;

async function decodeBatch(batch: string[]): Promise<Float32Array> {
  const tensor = new Float32Array(batch.length * 3 * plane);
  await Promise.all(
    batch.map(async (path, n) => {
      const { pixels } = await decoder.decode(await readFile(path));
      for (let c = 0; c < 3; c++) {
        const scale = plan.rescaleFactor / plan.std[c]!;
        const shift = plan.mean[c]! / plan.std[c]!;
        for (let i = 0, o = (n * 3 + c) * plane; i < plane; i++) tensor[o + i] = pixels[i * 3 + c]! * scale - shift;
      }
    }),
  );
  return tensor;
}

const encoder =
  mode === 'decode'
    ? null
    : new Worker(new URL('bare-encoder.ts', import.meta.url), { workerData: { graphFile: pack.vision.file, threads } });
if (encoder) await once(encoder, 'message');

const firstBatch = await decodeBatch(paths.slice(0, batchSize));
const nextBatch = (from: number): Promise<Float32Array> => {
  if (mode !== 'encode') return decodeBatch(paths.slice(from, from + batchSize));
  const left = Math.max(0, paths.length - from);
  return Promise.resolve(firstBatch.slice(0, Math.min(batchSize, left) * 3 * plane));
};

const startedAt = performance.now();
const cpuBefore = process.cpuUsage();
let ahead = nextBatch(0);
for (let from = 0; from < paths.length; from += batchSize) {
  const pixels = await ahead;
  ahead = nextBatch(from + batchSize);
  if (!encoder) continue;
  const done = once(encoder, 'message');
  encoder.postMessage({ pixels, shape: [pixels.length / (3 * plane), 3, plan.input.heightPx, plan.input.widthPx] }, [
    pixels.buffer as ArrayBuffer,
  ]);
  await done;
}
const seconds = (performance.now() - startedAt) / 1000;
const cpu = process.cpuUsage(cpuBefore);
await encoder?.terminate();
console.log(JSON.stringify({ pictures: paths.length, seconds, cpuSeconds: (cpu.user + cpu.system) / 1e6 }));
