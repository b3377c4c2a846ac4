/** Questions that the records' words answer: price, stock, product type. They show what text alone can do. */
import { seedOf, seeded, shuffled } from '../starter-encoder/seeded.mjs';

const COUNT = 40;
const KINDS = [
  (r) => ({
    question: `What does article ${r.attributes.sku} cost?`,
    question_zh: `商品 ${r.attributes.sku} 多少钱？`,
    answer: r.attributes.price.toFixed(2),
  }),
  (r) => ({
    question: `Is article ${r.attributes.sku} in stock?`,
    question_zh: `商品 ${r.attributes.sku} 有货吗？`,
    answer: r.attributes.in_stock ? 'yes' : 'no',
  }),
  (r) => ({
    question: `What kind of product is the ${r.title}?`,
    question_zh: `“${r.title}”是哪类商品？`,
    answer: r.attributes.product_type,
  }),
];

/** Drawn from the products whose records name their motif; boxes are empty, since no picture is needed. */
export function textQuestions(products, seed) {
  const random = seeded(seed ^ seedOf('text-questions'));
  const named = products.filter((p) => p.told !== 'nothing' && p.record.attributes.pack_size === 1);
  return shuffled(named, random)
    .slice(0, COUNT)
    .map(({ record }, i) => ({
      id: `text-q${String(i + 1).padStart(2, '0')}`,
      kind: 'text',
      ...KINDS[i % KINDS.length](record),
      item_id: record.item_id,
      image: record.images[0],
      boxes: [],
      split: random() < 0.25 ? 'heldout' : 'train-like',
    }));
}
