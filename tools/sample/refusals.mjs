/** Questions about things that the catalogue does not have, in the very words in which it is asked about those that it has. */
import { makeDocument } from './documents.mjs';
import { seedOf, seeded } from '../starter-encoder/seeded.mjs';

/** Questions of each family; those of products are about article numbers that nobody has. */
const COUNTS = { cooler: 6, connector: 6, plate: 4, problem: 4, xray: 4 };
const PRODUCTS = 6;
/** Documents of this seed are drawn nowhere. */
const OTHER = 'refusals';

/** `records`: the whole catalogue. Returns the lines of refusals.jsonl. */
export function refusals(records, seed) {
  const known = records.map((record) => `${record.title} ${record.attributes.sku}`.toLowerCase());
  const isKnown = (name) => known.some((one) => one.includes(name.toLowerCase()));
  const other = seed ^ seedOf(OTHER);
  const lines = [];
  for (const [family, count] of Object.entries(COUNTS)) {
    for (let index = 0, found = 0; found < count; index += 1) {
      const { record, questions } = makeDocument(family, index, other);
      const [, name] = /(\S*\d\S*)/.exec(record.title) ?? [];
      if (name === undefined || isKnown(name)) continue;
      const { kind, question, question_zh } = questions[found % questions.length];
      if (!question.includes(name)) continue;
      lines.push({ kind, family: record.attributes.family, question, question_zh });
      found += 1;
    }
  }
  const random = seeded(other);
  for (let found = 0; found < PRODUCTS;) {
    const sku = `SL-${1000 + Math.floor(random() * 9000)}-${900 + Math.floor(random() * 100)}`;
    if (isKnown(sku)) continue;
    lines.push({
      kind: 'text',
      family: 'product',
      question: `What does article ${sku} cost?`,
      question_zh: `商品 ${sku} 多少钱？`,
    });
    found += 1;
  }
  return lines.map((line, i) => ({
    id: `refusal-q${String(i + 1).padStart(2, '0')}`,
    ...line,
    unanswerable: true,
    split: 'heldout',
  }));
}
