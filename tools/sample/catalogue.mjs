/**
 * The product catalogue: which concepts are in it, which stay absent, and each product's record and pictures.
 * Everything is drawn in fluent-emoji-flat (MIT), a style that the starter encoder never saw in training.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { seedOf, seeded, shuffled } from '../starter-encoder/seeded.mjs';
import { iconFinder } from '../starter-encoder/icon-set.mjs';
import { colourName, drawIcon } from './icons.mjs';
import { describe } from './wording.mjs';

const WHOLE = ['animals', 'food', 'travel', 'activities', 'objects'];
const SOME = { smileys: 45, people: 45, symbols: 25 };
const ABSENT = 110;
/** In neither: words that records or documents use in another sense (magnets are sold, X-rays are documents), and near twins. */
const SET_ASIDE = new Set([
  'x-ray',
  'magnet',
  'houses',
  'package',
  'unlocked',
  'mate',
  'rat',
  'motorway',
  'label',
  'postcard',
  'ballot-box-with-ballot',
]);
const TOLD = [
  ['all', 0.7],
  ['title', 0.15],
  ['nothing', 0.15],
];
const TINTS = ['#fdf3e7', '#e8f3fb', '#eef7ea', '#f6ecf8', '#fff7cc', '#e4e7ec', '#2f3b4c', '#fbe4e4'];
const ORIENTATIONS = { 3: 180, 6: 270, 8: 90 };

const contentWords = (label) =>
  label
    .toLowerCase()
    .split(/[^a-z]+/)
    .filter((w) => w.length > 2 && !['with', 'and', 'the', 'face', 'sign', 'button'].includes(w));

/** Splits the drawable concepts into those sold and those absent; an absent one shares no word with a sold one. */
export function chooseConcepts(concepts, heldOut, seed) {
  const find = iconFinder('fluent-emoji-flat');
  const random = seeded(seed ^ seedOf('choose'));
  const drawable = concepts.filter((c) => !SET_ASIDE.has(c.id) && find(c) !== null);
  const uses = {};
  for (const c of drawable) for (const w of new Set([...contentWords(c.en.label), ...c.en.tags])) uses[w] = (uses[w] ?? 0) + 1;
  const lonely = (c) => contentWords(c.en.label).length > 0 && contentWords(c.en.label).every((w) => uses[w] <= 1);
  const absent = shuffled(
    drawable.filter((c) => WHOLE.includes(c.group) && lonely(c)),
    random,
  ).slice(0, ABSENT);
  const away = new Set(absent.map((c) => c.id));
  const sold = drawable.filter((c) => WHOLE.includes(c.group) && !away.has(c.id));
  for (const [group, count] of Object.entries(SOME)) {
    const members = shuffled(
      drawable.filter((c) => c.group === group),
      random,
    );
    const held = members.filter((c) => heldOut.has(c.id)).slice(0, Math.ceil(count / 4));
    sold.push(...held, ...members.filter((c) => !heldOut.has(c.id)).slice(0, count - held.length));
  }
  return { sold: sold.sort((a, b) => a.id.localeCompare(b.id)), absent: absent.sort((a, b) => a.id.localeCompare(b.id)) };
}

function choose(weighted, random) {
  let rest = random();
  for (const [value, weight] of weighted) {
    rest -= weight;
    if (rest < 0) return value;
  }
  return weighted.at(-1)[0];
}

/** One picture of a drawing: canvas, background, format and orientation all drawn from `random`. */
async function productPicture(svg, random, turned) {
  const short = 200 + Math.floor(random() * 5) * 24;
  const long = Math.round(short * (1.15 + 0.35 * random()));
  const [width, height] = choose(
    [
      [[short, short], 0.6],
      [[long, short], 0.2],
      [[short, long], 0.2],
    ],
    random,
  );
  const art = await drawIcon(svg, Math.round(short * (0.74 + 0.2 * random())));
  const ground = choose(
    [
      ['#ffffff', 0.6],
      [TINTS[Math.floor(random() * TINTS.length)], 0.25],
      [null, 0.15],
    ],
    random,
  );
  const background = ground && !turned ? ground : turned ? (ground ?? '#ffffff') : { r: 0, g: 0, b: 0, alpha: 0 };
  const format = turned
    ? 'jpg'
    : ground === null
      ? choose(
          [
            ['png', 0.6],
            ['webp', 0.4],
          ],
          random,
        )
      : choose(
          [
            ['png', 0.35],
            ['webp', 0.4],
            ['jpg', 0.25],
          ],
          random,
        );
  const canvas = await sharp({ create: { width, height, channels: 4, background } })
    .composite([{ input: art, gravity: 'centre' }])
    .png()
    .toBuffer();
  let image = sharp(canvas);
  if (turned) {
    const orientation = [3, 6, 8][Math.floor(random() * 3)];
    image = image.rotate(ORIENTATIONS[orientation]).withMetadata({ orientation });
  }
  if (format === 'png') return { format, bytes: await image.png({ palette: true, colours: 96, effort: 9 }).toBuffer() };
  if (format === 'webp') return { format, bytes: await image.webp({ quality: 80, effort: 5 }).toBuffer() };
  return { format, bytes: await image.flatten({ background: '#ffffff' }).jpeg({ quality: 84 }).toBuffer() };
}

/** Writes the products' pictures under `out`/images/products and returns their records. */
export async function writeProducts(out, sold, seed) {
  const find = iconFinder('fluent-emoji-flat');
  mkdirSync(path.join(out, 'images/products'), { recursive: true });
  const records = [];
  for (const [index, concept] of sold.entries()) {
    const random = seeded(seed ^ seedOf(`product/${concept.id}`));
    const sku = `SL-${String(1000 + Math.floor(seeded(seedOf(concept.id))() * 9000))}-${String(index).padStart(3, '0')}`;
    const told = choose(TOLD, random);
    const words = describe(concept, sku, told, random);
    const svg = find(concept).svg(256);
    const views = index % 20 === 7 ? 2 : 1;
    const images = [];
    for (let view = 0; view < views; view += 1) {
      const { format, bytes } = await productPicture(svg, random, index % 45 === 11);
      const name = `images/products/${sku.toLowerCase()}${view ? `-${view + 1}` : ''}.${format}`;
      writeFileSync(path.join(out, name), bytes);
      images.push(name);
    }
    const attributes = {
      kind: 'product',
      category: concept.group,
      group: concept.subgroup,
      product_type: words.type,
      sku,
      colour: await colourName(await drawIcon(svg, 96)),
      price: words.price,
      in_stock: random() < 0.85,
      pack_size: 1,
    };
    records.push({
      concept: concept.id,
      told,
      record: { item_id: `product-${String(index).padStart(4, '0')}`, title: words.title, text: words.text, attributes, images },
    });
  }
  return [...records, ...bundles(records)];
}

/** Every ninetieth product is sold in a pack of five too: a second record that shares the picture. */
function bundles(records) {
  return records
    .filter((_, i) => i % 90 === 40)
    .map(({ concept, told, record }) => ({
      concept,
      told,
      record: {
        ...record,
        item_id: `${record.item_id}-x5`,
        title: `${record.title}, pack of 5`,
        attributes: {
          ...record.attributes,
          sku: `${record.attributes.sku}-X5`,
          price: Math.round(record.attributes.price * 4 * 20) / 20,
          pack_size: 5,
        },
      },
    }));
}
