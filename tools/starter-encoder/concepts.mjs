/**
 * The concepts that pictures and captions are about: Unicode emoji without skin tones, gender variants, clock faces,
 * keycaps and country flags, captioned in English and Chinese from emojibase-data and emojilib (both MIT).
 */
import { createRequire } from 'node:module';
import { seeded, shuffled } from './seeded.mjs';

const require = createRequire(import.meta.url);
const GROUPS = ['smileys', 'people', 'component', 'animals', 'food', 'travel', 'activities', 'objects', 'symbols', 'flags'];
const GENDERED =
  /^(man|woman|men|women|boy|girl|mother|father|mrs|mx)\b.+|: (man|woman|men|women|boy|girl)\b|^family|^couple with heart:|^kiss:|holding hands$/i;
const COLOUR = /\b(red|orange|yellow|green|blue|purple|brown|black|white|grey|pink|light|dark|coloured)\b/i;
const CLOCK = /o’clock|-thirty$/;

/** How icon sets spell a label: lower case, no accents, words joined by hyphens. */
export const slug = (text) =>
  text
    .toLowerCase()
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '')
    .replace(/[’'.!]/g, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');

const words = (text) => text.replace(/[_-]+/g, ' ').trim();
const unique = (list) => [...new Set(list.filter(Boolean))];

/** Every concept: {id, hexcode, emoji, group, subgroup, colourBound, en: {label, tags, names}, zh: {label, tags}, slugs}. */
export function loadConcepts() {
  const english = require('emojibase-data/en/data.json');
  const chinese = new Map(require('emojibase-data/zh/data.json').map((e) => [e.hexcode, e]));
  const { subgroups } = require('emojibase-data/meta/groups.json');
  const keywords = require('emojilib');
  const shortcodeSets = ['emojibase', 'github', 'iamcal', 'joypixels', 'cldr'].map((name) =>
    require(`emojibase-data/en/shortcodes/${name}.json`),
  );
  return english
    .filter((e) => e.group !== undefined && GROUPS[e.group] !== 'component')
    .filter(
      (e) => !(GROUPS[e.group] === 'people' && GENDERED.test(e.label)) && !CLOCK.test(e.label) && !e.label.startsWith('keycap'),
    )
    .filter((e) => !['country-flag', 'subdivision-flag'].includes(subgroups[e.subgroup]))
    .map((e) => {
      const names = unique(shortcodeSets.flatMap((set) => set[e.hexcode] ?? []).map(String));
      const zh = chinese.get(e.hexcode);
      return {
        id: slug(e.label),
        hexcode: e.hexcode.toLowerCase(),
        emoji: e.emoji,
        group: GROUPS[e.group],
        subgroup: subgroups[e.subgroup],
        colourBound: COLOUR.test(e.label),
        en: {
          label: e.label.replace('’', "'"),
          tags: unique([...(e.tags ?? []), ...(keywords[e.emoji] ?? []).map(words)].map((t) => t.toLowerCase())),
          names: unique(names.filter((n) => /^[a-z0-9_-]{3,}$/.test(n)).map(words)),
        },
        zh: { label: zh?.label ?? '', tags: zh?.tags ?? [] },
        slugs: unique([
          slug(e.label),
          ...names.map(slug),
          slug(e.label).replaceAll('-', ''),
          ...names.map((n) => slug(n).replaceAll('-', '')),
        ]),
      };
    });
}

/**
 * The concepts that training never sees in any style: every tenth, drawn per group with the seed from those that the
 * held-out style draws.
 */
export function heldOutConcepts(concepts, inHeldOutStyle, seed) {
  const random = seeded(seed);
  const out = new Set();
  for (const group of GROUPS) {
    const members = concepts.filter((c) => c.group === group && inHeldOutStyle.has(c.id));
    for (const c of shuffled(members, random).slice(0, Math.round(members.length / 12))) out.add(c.id);
  }
  return out;
}
