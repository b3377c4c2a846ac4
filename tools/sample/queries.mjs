/** Labelled queries: for things that are in the catalogue (recall.jsonl) and for things that are not (absent.jsonl). */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { seedOf, seeded, shuffled } from '../starter-encoder/seeded.mjs';
import { iconFinder } from '../starter-encoder/icon-set.mjs';
import { drawIcon } from './icons.mjs';

const PRESENT_PICTURES = 130;
const ABSENT_PICTURES = 60;

/** Calibration or test, by the concept, so that its English, Chinese and picture queries stay together. */
const useOf = (id, seed) => (seeded(seed ^ seedOf(`use/${id}`))() < 0.5 ? 'calibration' : 'test');

const tagsOf = (concept) =>
  concept.en.tags
    .filter((t) => !concept.en.label.includes(t))
    .slice(0, 3)
    .join(' ');

async function writeQueryPicture(out, folder, concept, find) {
  const name = `${folder}/${concept.id}.webp`;
  const art = await drawIcon(find(concept).svg(120), 120);
  const bytes = await sharp({ create: { width: 144, height: 128, channels: 3, background: '#ffffff' } })
    .composite([{ input: art, gravity: 'centre' }])
    .webp({ quality: 78, effort: 5 })
    .toBuffer();
  writeFileSync(path.join(out, name), bytes);
  return name;
}

const lines = (records) => records.map((r) => `${JSON.stringify(r)}\n`).join('');

export async function writeQueries(out, { products, sold, absent, heldOut, seed }) {
  const find = iconFinder('openmoji');
  const random = seeded(seed ^ seedOf('queries'));
  const relevant = Map.groupBy(products, (p) => p.concept);
  const present = sold.flatMap((c) => {
    const common = {
      relevant: relevant.get(c.id).map((p) => p.record.item_id),
      split: heldOut.has(c.id) ? 'heldout-concept' : 'unseen-style',
      use: useOf(c.id, seed),
    };
    const rows = [
      { query: c.en.label, lang: 'en', kind: 'label', ...common },
      { query: c.zh.label, lang: 'zh', kind: 'label', ...common },
    ];
    if (tagsOf(c)) rows.push({ query: tagsOf(c), lang: 'en', kind: 'tags', ...common });
    return rows;
  });
  mkdirSync(path.join(out, 'recall/images'), { recursive: true });
  const pictured = shuffled(
    sold.filter((c) => find(c) !== null),
    random,
  );
  const chosen = [
    ...pictured.filter((c) => heldOut.has(c.id)).slice(0, PRESENT_PICTURES / 3),
    ...pictured.filter((c) => !heldOut.has(c.id)),
  ].slice(0, PRESENT_PICTURES);
  for (const c of chosen.sort((a, b) => a.id.localeCompare(b.id))) {
    present.push({
      image: await writeQueryPicture(out, 'recall/images', c, find),
      kind: 'image',
      relevant: relevant.get(c.id).map((p) => p.record.item_id),
      split: heldOut.has(c.id) ? 'heldout-concept' : 'unseen-style',
      use: useOf(c.id, seed),
    });
  }
  writeFileSync(path.join(out, 'recall.jsonl'), lines(present));

  const known = absent.flatMap((c) => {
    const common = { kind: heldOut.has(c.id) ? 'heldout-concept' : 'trained-concept', split: useOf(c.id, seed) };
    return [
      { query: c.en.label, lang: 'en', ...common },
      { query: c.zh.label, lang: 'zh', ...common },
    ];
  });
  const foreign = JSON.parse(readFileSync(new URL('foreign-queries.json', import.meta.url), 'utf8')).flatMap(([en, zh]) => {
    const common = { kind: 'foreign', split: useOf(en, seed) };
    return [
      { query: en, lang: 'en', ...common },
      { query: zh, lang: 'zh', ...common },
    ];
  });
  const pictures = [];
  for (const c of absent.filter((x) => find(x) !== null).slice(0, ABSENT_PICTURES)) {
    pictures.push({
      image: await writeQueryPicture(out, 'recall/images', c, find),
      kind: heldOut.has(c.id) ? 'heldout-concept' : 'trained-concept',
      split: useOf(c.id, seed),
    });
  }
  writeFileSync(path.join(out, 'absent.jsonl'), lines([...known, ...foreign, ...pictures]));
  return {
    recall: present.length,
    recallPictures: chosen.length,
    absentTexts: known.length + foreign.length,
    absentPictures: pictures.length,
  };
}
