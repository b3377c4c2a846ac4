/**
 * Renders documents of the sample's families with seeds of their own, as the model will be shown them: letterboxed to its square. Leaves out every
 * cell that a held-out question of the sample asks about.
 *
 *   node render.mjs --out DIR [--seed 88001] [--cooler 3000] [--connector 2000] [--plate 2500] [--problem 3000] [--xray 1500] [--page 5000] [--icon 400]
 *
 * Writes pictures.rgb (square after square, 8 bits a channel) and documents.jsonl: a line each with its record, questions, and all that stands in the
 * picture with its place. Boxes are [x1, y1, x2, y2] in pixels of the square. Icons, of a style that the sample does not show, stand for products' pictures;
 * pages of words that mean nothing are there to be read.
 */
import { createWriteStream, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { FAMILIES, isHeldOut, makeDocument } from '../sample/documents.mjs';
import { seeded, seedOf, shuffled } from '../starter-encoder/seeded.mjs';
import { page } from './page.mjs';

/** The grey that the pipeline pads with. */
const PADDING = 127;
const SIDE = 384;
const MOST = { cooler: '3000', connector: '2000', plate: '2500', problem: '3000', xray: '1500', page: '5000', icon: '400' };
const { values } = parseArgs({
  options: {
    out: { type: 'string' },
    seed: { type: 'string', default: '88001' },
    'held-out': { type: 'boolean', default: false },
    ...Object.fromEntries(Object.entries(MOST).map(([name, count]) => [name, { type: 'string', default: count }])),
  },
});
mkdirSync(values.out, { recursive: true });
const pictures = createWriteStream(path.join(values.out, 'pictures.rgb'));
const lines = createWriteStream(path.join(values.out, 'documents.jsonl'));
const write = (stream, data) => stream.write(data) || new Promise((resolve) => stream.once('drain', resolve));

/** Most drawings fill the square as the pipeline letterboxes them; the others stand smaller somewhere in it. */
function placeOf(random, width, height) {
  const fit = SIDE / Math.max(width, height);
  const scale = random() < 0.7 ? fit : fit * (0.85 + 0.15 * random());
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  const isFit = scale === fit;
  const left = isFit ? Math.floor((SIDE - w) / 2) : Math.floor(random() * (SIDE - w + 1));
  const top = isFit ? Math.floor((SIDE - h) / 2) : Math.floor(random() * (SIDE - h + 1));
  return { w, h, left, top, x: w / width, y: h / height };
}

async function squareOf({ svg, noise }, place, random) {
  const { data } = await sharp(Buffer.from(svg))
    .flatten({ background: '#ffffff' })
    .toBuffer({ resolveWithObject: true })
    .then(({ data }) =>
      sharp(data)
        .resize(place.w, place.h, { fit: 'fill' })
        .removeAlpha()
        .toColourspace('srgb')
        .raw()
        .toBuffer({ resolveWithObject: true }),
    );
  if (noise)
    for (let i = 0; i < data.length; i += 3) {
      // Film grain after it was made smaller is about half as strong.
      const grain = (random() + random() - 1) * noise * 1.2;
      const grey = Math.max(0, Math.min(255, data[i] + grain));
      data[i] = data[i + 1] = data[i + 2] = grey;
    }
  const canvas = Buffer.alloc(SIDE * SIDE * 3, PADDING);
  for (let y = 0; y < place.h; y += 1)
    data.copy(canvas, ((y + place.top) * SIDE + place.left) * 3, y * place.w * 3, (y + 1) * place.w * 3);
  return canvas;
}

const started = Date.now();
let done = 0;
for (const family of [...Object.keys(FAMILIES), 'page']) {
  for (let index = 0, made = 0; made < Number(values[family]); index += 1) {
    const document =
      family === 'page'
        ? page(seeded(Number(values.seed) ^ seedOf(`page/${index}`)))
        : makeDocument(family, index, Number(values.seed));
    if (family !== 'page' && isHeldOut(document.cell) !== values['held-out']) continue;
    const random = seeded(Number(values.seed) * 7 + index);
    const [, width, height] = /width="(\d+)" height="(\d+)"/.exec(document.svg).map(Number);
    const place = placeOf(random, width, height);
    const moved = ([x1, y1, x2, y2]) =>
      [x1 * place.x + place.left, y1 * place.y + place.top, x2 * place.x + place.left, y2 * place.y + place.top].map(
        (v) => Math.round(v * 10) / 10,
      );
    await write(pictures, await squareOf(document, place, random));
    const { seen, svg: _, noise: __, questions, ...rest } = document;
    await write(
      lines,
      `${JSON.stringify({
        family,
        ...rest,
        questions: questions.map((q) => ({ ...q, boxes: q.boxes.map((b) => ({ ...b, xyxy: moved(b.xyxy) })) })),
        words: seen.words.map((w) => ({ words: w.words, box: moved(w.box), letters: w.letters, boxes: w.boxes.map(moved) })),
        shapes: seen.shapes.map((s) => ({ ...s, box: moved(s.box) })),
      })}\n`,
    );
    made += 1;
    done += 1;
    if (done % 500 === 0)
      process.stdout.write(`${done} pictures, ${(done / ((Date.now() - started) / 1000)).toFixed(0)} a second\n`);
  }
}
const [twemoji, random] = [
  createRequire(new URL('../starter-encoder/icon-set.mjs', import.meta.url))('@iconify-json/twemoji/icons.json'),
  seeded(Number(values.seed)),
];
for (const name of shuffled(Object.keys(twemoji.icons), random).slice(0, Number(values.icon))) {
  const { body, width = twemoji.width ?? 36, height = twemoji.height ?? 36 } = twemoji.icons[name];
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="360" height="360" viewBox="0 0 ${width} ${height}">${body}</svg>`;
  const ground = ['#ffffff', '#ffffff', '#fdf3d8', '#e3f2fd'][Math.floor(random() * 4)];
  const shape = random() < 0.6 ? [SIDE, SIDE] : random() < 0.5 ? [SIDE, 288] : [288, SIDE];
  const inner = await sharp(Buffer.from(svg))
    .resize(shape[0], shape[1], { fit: 'contain', background: ground })
    .flatten({ background: ground })
    .toBuffer();
  const square = sharp(inner).resize(SIDE, SIDE, { fit: 'contain', background: { r: PADDING, g: PADDING, b: PADDING } });
  await write(pictures, await square.removeAlpha().toColourspace('srgb').raw().toBuffer());
  await write(
    lines,
    `${JSON.stringify({ family: 'icon', cell: `icon/${name}`, record: null, questions: [], words: [], shapes: [] })}\n`,
  );
}
pictures.end();
lines.end();
