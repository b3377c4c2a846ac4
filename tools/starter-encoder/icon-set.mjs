/** Finds a concept's drawing in an npm icon set (`@iconify-json/*`). */
import { createRequire } from 'node:module';
import { getIconData, iconToSVG } from '@iconify/utils';

const require = createRequire(import.meta.url);
/** mdi's code points are those of its own font, not of emoji. */
const PRIVATE_CODE_POINTS = new Set(['mdi']);

function codePoints(prefix) {
  if (PRIVATE_CODE_POINTS.has(prefix)) return {};
  try {
    return require(`@iconify-json/${prefix}/chars.json`);
  } catch {
    return {}; // The set lists none.
  }
}

/**
 * Returns a function: concept -> {name, viewSize, svg(size)}, or null where the set does not draw it. By code point
 * where the set lists them, else by any of the concept's names with one of `endings`.
 */
export function iconFinder(prefix, endings = ['']) {
  const icons = require(`@iconify-json/${prefix}/icons.json`);
  const chars = codePoints(prefix);
  const names = new Set([...Object.keys(icons.icons), ...Object.keys(icons.aliases ?? {})]);
  return (concept) => {
    const candidates = concept.slugs.flatMap((slug) => endings.map((ending) => slug + ending));
    const name = chars[concept.hexcode] ?? chars[concept.hexcode.replaceAll('-fe0f', '')] ?? candidates.find((n) => names.has(n));
    if (name === undefined) return null;
    const { attributes, body, viewBox } = iconToSVG(getIconData(icons, name), { height: 'unset', width: 'unset' });
    const svg = (size) =>
      `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="${attributes.viewBox}" width="${size}" height="${size}">${body}</svg>`;
    return { name, viewSize: viewBox[2], svg };
  };
}
