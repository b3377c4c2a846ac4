/**
 * Renders drawings, problem sheets and X-ray-like pictures from the sample's generators with other seeds, leaving out
 * every cell that the sample's held-out questions ask about. Same file layout as render.mjs.
 *
 *   node render-documents.mjs --out DIR [--seed 7001] [--each 80] [--size 80]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { FAMILIES, isHeldOut, makeDocument, rasterise } from '../sample/documents.mjs';

const { values } = parseArgs({
  options: {
    out: { type: 'string' },
    seed: { type: 'string', default: '7001' },
    each: { type: 'string', default: '80' },
    size: { type: 'string', default: '80' },
  },
});
const [seed, each, size] = [Number(values.seed), Number(values.each), Number(values.size)];
const families = Object.keys(FAMILIES);
const rows = [];
const pixels = [];
for (const [position, family] of families.entries()) {
  for (let index = 0, made = 0; made < each; index += 1) {
    const document = makeDocument(family, index, seed);
    if (isHeldOut(document.cell)) continue;
    const { bytes } = await rasterise(document, seed ^ index);
    pixels.push(
      await sharp(bytes)
        .resize(size, size, { fit: 'cover', kernel: 'cubic' })
        .toColourspace('srgb')
        .removeAlpha()
        .ensureAlpha(1)
        .raw()
        .toBuffer(),
    );
    rows.push([family, position, 0]);
    made += 1;
  }
}
mkdirSync(values.out, { recursive: true });
writeFileSync(path.join(values.out, 'pictures.rgba'), Buffer.concat(pixels));
writeFileSync(path.join(values.out, 'pictures.json'), JSON.stringify({ size, count: rows.length, seed, families, rows }));
process.stdout.write(`${JSON.stringify({ pictures: rows.length, families })}\n`);
