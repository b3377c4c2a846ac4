/**
 * Builds a small set of one family that the sample has none of: a folder in the sample's form, of which nothing is committed.
 *
 *   node build-family.mjs --out DIR [--family fuse-box] [--count 160] [--seed 20270101]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { seedOf, seeded } from '../starter-encoder/seeded.mjs';
import { isHeldOut, rasterise } from './documents.mjs';
import { fuseBox } from './fuse-boxes.mjs';

const FAMILIES = { 'fuse-box': { make: fuseBox, folder: 'fuse-boxes' } };

const { values } = parseArgs({
  options: {
    out: { type: 'string' },
    family: { type: 'string', default: 'fuse-box' },
    count: { type: 'string', default: '160' },
    seed: { type: 'string', default: '20270101' },
  },
});
const { make, folder } = FAMILIES[values.family];
const seed = Number(values.seed);
const [records, questions] = [[], []];
mkdirSync(path.join(values.out, 'images', folder), { recursive: true });
for (let index = 0; index < Number(values.count); index += 1) {
  const document = make(seeded(seed ^ seedOf(`${values.family}/${index}`)), index);
  const { format, bytes } = await rasterise(document, seed ^ index);
  const image = `images/${folder}/${document.record.item_id}.${format}`;
  writeFileSync(path.join(values.out, image), bytes);
  records.push({ ...document.record, images: [image] });
  const split = isHeldOut(document.cell) ? 'heldout' : 'train-like';
  const item_id = document.record.item_id;
  for (const [i, { boxes, ...question }] of document.questions.entries())
    questions.push({ id: `${item_id}-q${i + 1}`, ...question, item_id, image, boxes, split });
}
const lines = (rows) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
writeFileSync(path.join(values.out, 'manifest.jsonl'), lines(records));
writeFileSync(path.join(values.out, 'questions.jsonl'), lines(questions));
const heldOut = questions.filter(({ split }) => split === 'heldout').length;
process.stdout.write(`${JSON.stringify({ records: records.length, questions: questions.length, heldOut })}\n`);
