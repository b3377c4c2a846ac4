import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import pino from 'pino';
import sharp from 'sharp';
import { openOnnxEncoder, type OnnxEncoder } from '@sightline/encode-worker/adapters/onnx-encoder';
import { SharpDecoder } from '@sightline/shared/adapters/sharp-decoder';
import { meanDifference } from '@sightline/encode-worker/core/golden';
import { viewLayouts } from '@sightline/shared/pictures/picture-view';
import { cosine } from '@sightline/encode-worker/core/pooling';
import { format } from 'prettier';

const ROOT = path.resolve(import.meta.dirname, '..');
/** Twelve megapixels in four shapes. */
const SHAPES: [number, number][] = [
  [4000, 3000],
  [3000, 4000],
  [5200, 2300],
  [3464, 3464],
];

interface Large {
  name: string;
  bytes: Buffer;
}

/** Twelve-megapixel JPEGs: soft shapes with grain like a photograph's, hard noise, gradients, and drawings of the sample, enlarged. */
async function* largeJpegs(): AsyncGenerator<Large> {
  const folder = path.join(ROOT, 'sample/images');
  const drawings = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(png|jpe?g|webp)$/.test(name))
    .sort();
  const kinds = [
    { kind: 'photograph-like', source: (w: number, h: number) => softWithGrain(w, h, 24) },
    { kind: 'noisy', source: (w: number, h: number) => softWithGrain(w, h, 110) },
    { kind: 'gradient', source: (w: number, h: number) => softWithGrain(w, h, 0) },
    ...[0.1, 0.35, 0.6, 0.85].map((share) => {
      const name = drawings[Math.floor(share * drawings.length)]!;
      const source = (w: number, h: number) =>
        sharp(readFileSync(path.join(folder, name)))
          .flatten({ background: '#fff' })
          .resize(w, h, { kernel: 'lanczos3' })
          .toColourspace('srgb')
          .raw()
          .toBuffer();
      return { kind: `drawing ${path.parse(name).name}`, source };
    }),
  ];
  let n = 0;
  for (const { kind, source } of kinds) {
    for (const [quality, chromaSubsampling] of [
      [75, '4:2:0'],
      [92, '4:4:4'],
    ] as const) {
      const [width, height] = SHAPES[n++ % SHAPES.length]!;
      const raw = { width, height, channels: 3 } as const;
      const bytes = await sharp(await source(width, height), { raw })
        .jpeg({ quality, chromaSubsampling })
        .toBuffer();
      yield { name: `${kind}, ${width} x ${height}, quality ${quality}, ${chromaSubsampling}`, bytes };
    }
  }
}

async function softWithGrain(width: number, height: number, grain: number): Promise<Buffer> {
  let state = width * 31 + height;
  const random = () => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
  const soft = Buffer.from(Array.from({ length: 12 * 12 * 3 }, () => Math.floor(random() * 256)));
  const pixels = await sharp(soft, { raw: { width: 12, height: 12, channels: 3 } })
    .resize(width, height, { fit: 'fill', kernel: 'cubic' })
    .raw()
    .toBuffer();
  if (grain > 0)
    for (let i = 0; i < pixels.length; i++) pixels[i] = Math.min(255, Math.max(0, pixels[i]! + (random() - 0.5) * grain));
  return pixels;
}

async function vectorOf(encoder: OnnxEncoder, pixels: Uint8Array): Promise<Float32Array> {
  const [outcome] = await encoder.encodePictures([{ pixels, crops: 1, widthPx: 1, heightPx: 1, format: 'raw' }], {
    lane: 'bulk',
  });
  if (!outcome?.ok) throw outcome?.error ?? new Error('no vector');
  return outcome.value;
}

/** The rows of one pack: what shrinking on load does to speed, pixels and vectors. Times are the best of three. */
async function rowsOf(packDir: string): Promise<string[]> {
  const encoder = await openOnnxEncoder({ packDir, threads: 1, logger: pino({ level: 'silent' }) });
  const rows: string[] = [];
  const least = { 1: 1, 2: 1 };
  try {
    const { plan } = encoder.pack;
    const modes = [null, 2, 1] as const;
    const decoders = modes.map((shrinkOnLoad) => new SharpDecoder({ ...plan, shrinkOnLoad }, viewLayouts(plan, null)));
    for await (const { name, bytes } of largeJpegs()) {
      const found = [];
      for (const decoder of decoders) {
        const times: number[] = [];
        let pixels = new Uint8Array();
        for (let run = 0; run < 3; run++) {
          const startedAt = performance.now();
          pixels = new Uint8Array((await decoder.decode(bytes)).pixels);
          times.push(performance.now() - startedAt);
        }
        found.push({ ms: Math.min(...times), pixels, vector: await vectorOf(encoder, pixels) });
      }
      const [exact, ...shrunk] = found as [(typeof found)[0], ...typeof found];
      const cells = shrunk.map(({ ms, pixels, vector }, i) => {
        const similarity = cosine(exact.vector, vector);
        const factor = modes[i + 1] as 1 | 2;
        least[factor] = Math.min(least[factor], similarity);
        return `${ms.toFixed(0)} ms (${(exact.ms / ms).toFixed(1)} x) | ${meanDifference(exact.pixels, pixels).toFixed(2)} | ${similarity.toFixed(5)}`;
      });
      rows.push(`| ${name} | ${exact.ms.toFixed(0)} ms | ${cells.join(' | ')} |`);
    }
    rows.push(`| least cosine | | | | ${least[2].toFixed(5)} | | | ${least[1].toFixed(5)} |`);
    const { widthPx, heightPx } = plan.input;
    return [
      `The pack \`${encoder.packName}\`, input ${widthPx} x ${heightPx}:`,
      '',
      '| 12-megapixel JPEG | exact | 2: time | difference | cosine | 1: time | difference | cosine |',
      '|---|---|---|---|---|---|---|---|',
      ...rows,
    ];
  } finally {
    await encoder.close();
  }
}

/** Rewrites the table of shrinking on load in docs/preprocessing.md. `node scripts/shrink-table.ts [--pack <directory>]...` */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { pack: { type: 'string', multiple: true, default: [path.join(ROOT, 'models/starter')] } },
  });
  const tables: string[] = [];
  for (const pack of values.pack) tables.push(...(await rowsOf(path.resolve(pack))), '');
  const file = path.join(ROOT, 'docs/preprocessing.md');
  const [start, end] = ['<!-- table: node scripts/shrink-table.ts -->', '<!-- end of shrink table -->'];
  const text = readFileSync(file, 'utf8');
  const written = `${text.slice(0, text.indexOf(start) + start.length)}\n\n${tables.join('\n')}\n${text.slice(text.indexOf(end))}`;
  writeFileSync(file, await format(written, { parser: 'markdown', printWidth: 130 }));
  console.log(tables.join('\n'));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
