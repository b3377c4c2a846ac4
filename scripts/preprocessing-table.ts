import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import pino from 'pino';
import sharp from 'sharp';
import { openOnnxEncoder } from '@sightline/encode-worker/adapters/onnx-encoder';
import { SharpDecoder } from '@sightline/shared/adapters/sharp-decoder';
import { meanDifference } from '@sightline/encode-worker/core/golden';
import { viewLayouts } from '@sightline/shared/pictures/picture-view';
import { cosine } from '@sightline/encode-worker/core/pooling';
import { parsePreprocessing } from '@sightline/shared/pictures/preprocessing';
import { z } from 'zod';

const ROOT = path.resolve(import.meta.dirname, '..');
export const PICTURES = path.join(ROOT, 'test/fixtures/pictures');

const referenceFile = z.object({
  made_with: z.string(),
  processors: z.record(z.string(), z.record(z.string(), z.unknown())),
  pictures: z.array(
    z.object({
      picture: z.string(),
      mode: z.string(),
      width: z.int(),
      height: z.int(),
      deviation: z.string().nullable(),
      transformers_mean_difference: z.number().nullable(),
      processors: z.array(z.string()),
    }),
  ),
});

export interface Comparison {
  picture: string;
  processor: string;
  mode: string;
  size: string;
  meanDifference: number;
  largestDifference: number;
  ours: Uint8Array;
  reference: Uint8Array;
  deviation: string | null;
  transformersMeanDifference: number | null;
}

/** Decodes every fixture picture under every processor that has a reference and compares the pixels, in grey levels of 255. */
export async function comparePreprocessing(): Promise<{ madeWith: string; comparisons: Comparison[] }> {
  const reference = referenceFile.parse(JSON.parse(readFileSync(path.join(PICTURES, 'reference.json'), 'utf8')));
  const comparisons: Comparison[] = [];
  for (const [processor, config] of Object.entries(reference.processors)) {
    const plan = parsePreprocessing(config);
    const decoder = new SharpDecoder(plan, viewLayouts(plan, null));
    for (const row of reference.pictures.filter(({ processors }) => processors.includes(processor))) {
      const decoded = await decoder.decode(readFileSync(path.join(PICTURES, row.picture)));
      const expected = new Uint8Array(
        await sharp(readFileSync(path.join(PICTURES, 'reference', processor, `${row.picture}.png`)))
          .raw()
          .toBuffer(),
      );
      let largestDifference = 0;
      expected.forEach((value, n) => (largestDifference = Math.max(largestDifference, Math.abs(value - decoded.pixels[n]!))));
      comparisons.push({
        picture: row.picture,
        processor,
        mode: row.mode,
        size: `${row.width} x ${row.height}`,
        meanDifference: meanDifference(decoded.pixels, expected),
        largestDifference,
        ours: decoded.pixels,
        reference: expected,
        deviation: row.deviation,
        transformersMeanDifference: row.transformers_mean_difference,
      });
    }
  }
  return { madeWith: reference.made_with, comparisons };
}

/** Cosine, in a pack's visual space, of our pixels and the reference's; null where the pack takes another size. */
export async function comparedVectors(packDir: string, comparisons: Comparison[]): Promise<(number | null)[]> {
  const encoder = await openOnnxEncoder({ packDir, threads: 1, logger: pino({ level: 'silent' }) });
  try {
    const { input } = encoder.pack.plan;
    const fits = comparisons.filter(({ ours }) => ours.length === input.widthPx * input.heightPx * 3);
    const pictures = fits
      .flatMap(({ ours, reference }) => [ours, reference])
      .map((pixels) => ({ pixels, crops: 1, widthPx: 1, heightPx: 1, format: 'raw' }));
    const outcomes = await encoder.encodePictures(pictures, { lane: 'bulk' });
    const vectors = outcomes.map((outcome) => {
      if (!outcome.ok) throw outcome.error;
      return outcome.value;
    });
    const cosines = new Map(fits.map((fit, n) => [fit, cosine(vectors[2 * n]!, vectors[2 * n + 1]!)]));
    return comparisons.map((comparison) => cosines.get(comparison) ?? null);
  } finally {
    await encoder.close();
  }
}

/** Rewrites the table in docs/preprocessing.md. `node scripts/preprocessing-table.ts` */
async function main(): Promise<void> {
  const { madeWith, comparisons } = await comparePreprocessing();
  const cosines = await comparedVectors(path.join(ROOT, 'models/starter'), comparisons);
  const rows = comparisons.map((c, n) => {
    const similarity = cosines[n];
    return `| ${c.picture} | ${c.mode} | ${c.size} | ${c.processor} | ${c.meanDifference.toFixed(2)} | ${c.largestDifference} | ${similarity == null ? '' : similarity.toFixed(5)} |`;
  });
  const table = [
    `Reference: ${madeWith}. Cosine: the starter pack's.`,
    '',
    '| Picture | Mode | Size | Processor | Mean difference | Largest | Cosine |',
    '|---|---|---|---|---|---|---|',
    ...rows,
  ].join('\n');
  const file = path.join(ROOT, 'docs/preprocessing.md');
  const [start, end] = ['<!-- table: node scripts/preprocessing-table.ts -->', '<!-- end of table -->'];
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, `${text.slice(0, text.indexOf(start) + start.length)}\n\n${table}\n\n${text.slice(text.indexOf(end))}`);
  const means = comparisons.map((c) => c.meanDifference);
  console.log(
    `${rows.length} rows; mean difference ${(means.reduce((a, b) => a + b, 0) / means.length).toFixed(2)}, worst ${Math.max(...means).toFixed(2)}; least cosine ${Math.min(...cosines.filter((c) => c !== null)).toFixed(5)}`,
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
