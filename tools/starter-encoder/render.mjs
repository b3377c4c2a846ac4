/**
 * Renders npm icon sets into two files that train.py maps into memory.
 *
 *   node render.mjs --out DIR [--seed 20261123] [--size 80]
 *
 * DIR/pictures.rgba  uint8 [count, size, size, 4]
 * DIR/pictures.json  {size, count, seed, styles, rows: [[style, concept index, variant], ...]}
 * DIR/concepts.json  [{id, group, subgroup, en, zh, heldOut, inGallery}, ...]
 */
import { createWriteStream, mkdirSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import path from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { heldOutConcepts, loadConcepts } from './concepts.mjs';
import { iconFinder } from './icon-set.mjs';
import { seedOf, seeded } from './seeded.mjs';
import { colourMono, varySvg } from './svg-variants.mjs';

/** Icon sets, how many invented variants of each icon are drawn, and name endings that are tried. Licences: README.md. */
const STYLES = {
  noto: { use: 'train', variants: 5 },
  'noto-v1': { use: 'train', variants: 5 },
  twemoji: { use: 'train', variants: 5 },
  emojione: { use: 'train', variants: 5 },
  fxemoji: { use: 'train', variants: 5 },
  'streamline-emojis': { use: 'train', variants: 5 },
  'emojione-monotone': { use: 'train', mono: true, variants: 1 },
  mdi: { use: 'train', mono: true, variants: 1 },
  ph: { use: 'train', mono: true, variants: 1, endings: ['-duotone', '-fill'] },
  'game-icons': { use: 'train', mono: true, variants: 1 },
  tabler: { use: 'train', mono: true, variants: 1 },
  'material-symbols': { use: 'train', mono: true, variants: 1 },
  mingcute: { use: 'train', mono: true, variants: 1, endings: ['-fill'] },
  'icon-park': { use: 'train', variants: 2 },
  'streamline-color': { use: 'train', variants: 2, endings: ['', '-1', '-flat'] },
  'streamline-plump-color': { use: 'train', variants: 2, endings: ['', '-flat'] },
  'streamline-kameleon-color': { use: 'train', variants: 2 },
  'fluent-emoji-flat': { use: 'held-out' },
  openmoji: { use: 'held-out' },
  'emojione-v1': { use: 'held-out' },
};
const GALLERY_STYLE = 'fluent-emoji-flat';

const rasterise = (svg, size) =>
  sharp(Buffer.from(svg))
    .resize(size, size, { fit: 'contain', background: { r: 255, g: 255, b: 255, alpha: 0 } })
    .ensureAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer();

const { values } = parseArgs({
  options: { out: { type: 'string' }, seed: { type: 'string', default: '20261123' }, size: { type: 'string', default: '80' } },
});
const seed = Number(values.seed);
const size = Number(values.size);
mkdirSync(values.out, { recursive: true });

const concepts = loadConcepts();
const inGallery = new Set(concepts.filter(iconFinder(GALLERY_STYLE)).map((c) => c.id));
const heldOut = heldOutConcepts(concepts, inGallery, seed);

const jobs = [];
for (const [style, { use, variants = 0, mono = false, endings }] of Object.entries(STYLES)) {
  const find = iconFinder(style, endings);
  concepts.forEach((concept, index) => {
    const icon = find(concept);
    if (!icon || (mono && concept.colourBound)) return;
    const extra = use === 'train' && !heldOut.has(concept.id) ? variants : 0;
    for (let variant = 0; variant <= extra; variant += 1)
      jobs.push({ style, mono, index, icon, variant, keepColours: concept.colourBound });
  });
}

const file = createWriteStream(path.join(values.out, 'pictures.rgba'));
const rows = [];
const counts = {};
const BATCH = 64;
for (let start = 0; start < jobs.length; start += BATCH) {
  const pixels = await Promise.all(
    jobs.slice(start, start + BATCH).map(async ({ style, mono, icon, variant, keepColours }) => {
      const random = seeded(seed ^ seedOf(`${style}/${icon.name}/${variant}`));
      const plain = icon.svg(size);
      const svg = mono
        ? colourMono(plain, random)
        : variant === 0
          ? plain
          : varySvg(plain, random, { viewSize: icon.viewSize, keepColours });
      try {
        return await rasterise(svg, size);
      } catch {
        return null; // A variant that librsvg refuses is left out.
      }
    }),
  );
  for (const [i, raw] of pixels.entries()) {
    if (raw?.length !== size * size * 4) continue;
    const { style, index, variant } = jobs[start + i];
    rows.push([style, index, variant]);
    counts[style] = (counts[style] ?? 0) + 1;
    if (!file.write(raw)) await once(file, 'drain');
  }
}
file.end();
await once(file, 'finish');

const styles = Object.fromEntries(Object.entries(STYLES).map(([name, { use, mono = false }]) => [name, { use, mono }]));
writeFileSync(path.join(values.out, 'pictures.json'), JSON.stringify({ size, count: rows.length, seed, styles, rows }));
writeFileSync(
  path.join(values.out, 'concepts.json'),
  JSON.stringify(
    concepts.map(({ slugs: _slugs, ...c }) => ({ ...c, heldOut: heldOut.has(c.id), inGallery: inGallery.has(c.id) })),
    null,
    1,
  ),
);
process.stdout.write(
  `${JSON.stringify({ pictures: rows.length, concepts: concepts.length, heldOut: heldOut.size, gallery: inGallery.size, counts })}\n`,
);
