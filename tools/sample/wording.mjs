/** The records' words: titles, sentences in English, a short part in Chinese. */

const TYPES = [
  { en: 'sticker', zh: '贴纸', low: 1.5, high: 4 },
  { en: 'poster', zh: '海报', low: 9, high: 25 },
  { en: 'magnet', zh: '冰箱贴', low: 3, high: 7 },
  { en: 'picture card', zh: '卡片', low: 1, high: 3 },
  { en: 'pin badge', zh: '徽章', low: 4, high: 9 },
];

const OPENERS = [
  (n, t) => `${cap(article(n))} on a ${t}, printed in full colour.`,
  (n, t) => `This ${t} shows ${article(n)}.`,
  (n, t) => `${cap(t)} with ${article(n)} drawn in a flat style.`,
  (n, t) => `Our ${n} ${t} for walls, laptops and notebooks.`,
];
const CLOSERS = [
  'Printed on recycled material.',
  'Ships in two days.',
  'Part of our flat art collection.',
  'Made to order.',
  'Washable and weatherproof.',
  'A small present for someone who likes it.',
];

const cap = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const article = (name) =>
  /^(the|a|an) /.test(name) || /s$/.test(name) ? name : /^[aeiou]/i.test(name) ? `an ${name}` : `a ${name}`;
const pick = (list, random) => list[Math.floor(random() * list.length)];

/**
 * The words of one product. `told` says how much they give away: 'all' (name and themes), 'title' (name only) or
 * 'nothing' (a code only: just the picture tells what it is).
 */
export function describe(concept, sku, told, random) {
  const type = pick(TYPES, random);
  const price = Math.round((type.low + (type.high - type.low) * random()) * 20) / 20;
  const name = concept.en.label;
  const closer = pick(CLOSERS, random);
  if (told === 'nothing')
    return {
      type: type.en,
      price,
      title: `Article ${sku}`,
      text: `${cap(type.en)}. ${closer} See the picture for the motif. ${type.zh}，图案见图。`,
    };
  const themes = concept.en.tags.slice(0, 4).filter((t) => t !== name);
  const about = told === 'all' && themes.length > 1 ? ` Themes: ${themes.join(', ')}.` : '';
  const zhTags = told === 'all' ? concept.zh.tags.slice(0, 3).join('、') : '';
  const chinese = `${concept.zh.label}${type.zh}${zhTags ? `，${zhTags}` : ''}。`;
  return {
    type: type.en,
    price,
    title: `${cap(name)} ${type.en}`,
    text: `${pick(OPENERS, random)(name, type.en)}${about} ${closer} ${chinese}`,
  };
}
