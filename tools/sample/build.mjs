/**
 * Builds the whole sample folder.
 *
 *   node build.mjs --out ../../sample [--seed 20261123]
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { heldOutConcepts, loadConcepts } from '../starter-encoder/concepts.mjs';
import { chooseConcepts, writeProducts } from './catalogue.mjs';
import { writeDocuments } from './documents.mjs';
import { iconFinder } from '../starter-encoder/icon-set.mjs';
import { writeQueries } from './queries.mjs';
import { refusals } from './refusals.mjs';
import { textQuestions } from './text-questions.mjs';

const GENERATED = ['images', 'recall', 'manifest.jsonl', 'questions.jsonl', 'refusals.jsonl', 'recall.jsonl', 'absent.jsonl'];

const { values } = parseArgs({ options: { out: { type: 'string' }, seed: { type: 'string', default: '20261123' } } });
const seed = Number(values.seed);
const out = values.out;
for (const name of GENERATED) rmSync(path.join(out, name), { recursive: true, force: true });
mkdirSync(out, { recursive: true });

const concepts = loadConcepts();
const find = iconFinder('fluent-emoji-flat');
const drawable = new Set(concepts.filter((c) => find(c) !== null).map((c) => c.id));
const heldOut = heldOutConcepts(concepts, drawable, seed);
const { sold, absent } = chooseConcepts(concepts, heldOut, seed);

const products = await writeProducts(out, sold, seed);
const documents = await writeDocuments(out, seed);
const questions = [...documents.questions, ...textQuestions(products, seed)];
const queries = await writeQueries(out, { products, sold, absent, heldOut, seed });

const records = [...products.map((p) => p.record), ...documents.records];
const unanswerable = refusals(records, seed);

const lines = (records) => records.map((r) => `${JSON.stringify(r)}\n`).join('');
writeFileSync(path.join(out, 'manifest.jsonl'), lines(records));
writeFileSync(path.join(out, 'questions.jsonl'), lines(questions));
writeFileSync(path.join(out, 'refusals.jsonl'), lines(unanswerable));

const told = Object.groupBy(products, (p) => p.told);
process.stdout.write(
  `${JSON.stringify({
    products: products.length,
    told: Object.fromEntries(Object.entries(told).map(([k, v]) => [k, v.length])),
    documents: documents.records.length,
    questions: questions.length,
    refusals: unanswerable.length,
    heldOutSold: sold.filter((c) => heldOut.has(c.id)).length,
    absent: absent.length,
    ...queries,
  })}\n`,
);
