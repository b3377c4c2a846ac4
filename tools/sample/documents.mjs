/** Draws the documents of the sample: pictures, records and questions with answers and boxes. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { seedOf, seeded } from '../starter-encoder/seeded.mjs';
import { connector, cooler, plate } from './drawings.mjs';
import { problem } from './problems.mjs';
import { xray } from './xrays.mjs';

/** Each family: its drawing function, how many are in the sample, and its folder. */
export const FAMILIES = {
  cooler: { make: cooler, count: 22, folder: 'drawings' },
  connector: { make: connector, count: 14, folder: 'drawings' },
  plate: { make: plate, count: 18, folder: 'drawings' },
  problem: { make: problem, count: 30, folder: 'problems' },
  xray: { make: xray, count: 20, folder: 'xrays' },
};

/**
 * A quarter of all cells (a cell is a family with the figures that its answers turn on) is never drawn for training, so
 * that a question about one of them cannot have been learnt by heart.
 */
export const isHeldOut = (cell) => seedOf(`cell/${cell}`) % 4 === 0;

/** One document of a family, drawn from a seed of its own. */
export const makeDocument = (family, index, seed) => FAMILIES[family].make(seeded(seed ^ seedOf(`${family}/${index}`)), index);

/** SVG -> file bytes: palette PNG, or grey JPEG with seeded film grain. */
export async function rasterise({ svg, noise }, seed) {
  const image = sharp(Buffer.from(svg));
  if (!noise) return { format: 'png', bytes: await image.png({ palette: true, colours: 64, effort: 9 }).toBuffer() };
  const { data, info } = await image.flatten({ background: '#000' }).greyscale().raw().toBuffer({ resolveWithObject: true });
  const random = seeded(seed);
  for (let i = 0; i < data.length; i += 1) data[i] = Math.max(0, Math.min(255, data[i] + (random() + random() - 1) * 2 * noise));
  return {
    format: 'jpg',
    bytes: await sharp(data, { raw: { width: info.width, height: info.height, channels: info.channels } })
      .jpeg({ quality: 74 })
      .toBuffer(),
  };
}

/** Writes the pictures under `out`/images and returns {records, questions}. */
export async function writeDocuments(out, seed) {
  const records = [];
  const questions = [];
  for (const [family, { count, folder }] of Object.entries(FAMILIES)) {
    mkdirSync(path.join(out, 'images', folder), { recursive: true });
    for (let index = 0; index < count; index += 1) {
      const document = makeDocument(family, index, seed);
      const { format, bytes } = await rasterise(document, seed ^ index);
      const image = `images/${folder}/${document.record.item_id}.${format}`;
      writeFileSync(path.join(out, image), bytes);
      records.push({ ...document.record, images: [image] });
      const split = isHeldOut(document.cell) ? 'heldout' : 'train-like';
      document.questions.forEach(({ boxes, ...q }, i) =>
        questions.push({
          id: `${document.record.item_id}-q${i + 1}`,
          ...q,
          item_id: document.record.item_id,
          image,
          boxes,
          split,
        }),
      );
    }
  }
  return { records, questions };
}
