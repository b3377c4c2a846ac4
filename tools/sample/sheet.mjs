/** A sheet of paper in SVG that knows where its words stand. Letters are outlines, so no font of the machine matters. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import opentype from 'opentype.js';

const require = createRequire(import.meta.url);
const load = (file) => {
  const bytes = readFileSync(require.resolve(`dejavu-fonts-ttf/ttf/${file}`));
  return opentype.parse(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
};
const FONTS = { regular: load('DejaVuSans.ttf'), bold: load('DejaVuSans-Bold.ttf'), mono: load('DejaVuSansMono.ttf') };
const INK = '#1c2430';

/** The smallest box around several boxes [x1, y1, x2, y2]. */
export const around = (...boxes) => [
  Math.min(...boxes.map((b) => b[0])),
  Math.min(...boxes.map((b) => b[1])),
  Math.max(...boxes.map((b) => b[2])),
  Math.max(...boxes.map((b) => b[3])),
];

export class Sheet {
  constructor(width, height, ground = '#ffffff') {
    Object.assign(this, { width, height });
    /** What training of a reader is told besides: each letter and each shape with its box, before it is rounded. */
    this.seen = { words: [], shapes: [] };
    this.parts = [`<rect width="${width}" height="${height}" fill="${ground}"/>`];
  }

  add(markup) {
    this.parts.push(markup);
  }

  /** Draws words with their baseline at y; returns their box in whole pixels. */
  text(words, x, y, size, { font = 'regular', colour = INK, anchor = 'start' } = {}) {
    const face = FONTS[font];
    const glyphs = [...words].map((char) => face.charToGlyph(char)); // opentype.js cannot read this font's ligature tables.
    const advances = glyphs.map((glyph) => (glyph.advanceWidth * size) / face.unitsPerEm);
    const width = advances.reduce((sum, a) => sum + a, 0);
    let pen = x - { start: 0, middle: width / 2, end: width }[anchor];
    const boxes = [];
    const letters = [];
    for (const [i, glyph] of glyphs.entries()) {
      const outline = glyph.getPath(pen, y, size);
      pen += advances[i];
      if (words[i] === ' ') continue;
      this.add(`<path d="${outline.toPathData(1)}" fill="${colour}"/>`);
      const { x1, y1, x2, y2 } = outline.getBoundingBox();
      boxes.push([x1, y1, x2, y2]);
      letters.push(words[i]);
    }
    const [x1, y1, x2, y2] = around(...boxes);
    const box = this.box(x1 - 2, y1 - 2, x2 + 2, y2 + 2);
    this.seen.words.push({ words, box, letters, boxes });
    return box;
  }

  box(x1, y1, x2, y2) {
    const clamp = (v, max) => Math.max(0, Math.min(max, v));
    return [
      clamp(Math.floor(x1), this.width),
      clamp(Math.floor(y1), this.height),
      clamp(Math.ceil(x2), this.width),
      clamp(Math.ceil(y2), this.height),
    ];
  }

  line(x1, y1, x2, y2, { colour = INK, width = 1.5, dash = '' } = {}) {
    this.add(
      `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${colour}" stroke-width="${width}"${dash && ` stroke-dasharray="${dash}"`}/>`,
    );
  }

  circle(x, y, r, { fill = 'none', stroke = INK, width = 1.5 } = {}) {
    this.add(`<circle cx="${x}" cy="${y}" r="${r}" fill="${fill}" stroke="${stroke}" stroke-width="${width}"/>`);
    return this.note(`circle ${fill} ${stroke}`, this.box(x - r - 1, y - r - 1, x + r + 1, y + r + 1));
  }

  rect(x, y, w, h, { fill = 'none', stroke = INK, width = 2, round = 0 } = {}) {
    this.add(
      `<rect x="${x}" y="${y}" width="${w}" height="${h}" rx="${round}" fill="${fill}" stroke="${stroke}" stroke-width="${width}"/>`,
    );
    return this.note(`rect ${fill}`, this.box(x - 1, y - 1, x + w + 1, y + h + 1));
  }

  /** Remembers a shape; returns its box. */
  note(shape, box) {
    this.seen.shapes.push({ shape, box });
    return box;
  }

  /** A horizontal dimension from x1 to x2 at height y with its number above; returns the number's box. */
  across(x1, x2, y, words, { colour = INK, size = 17 } = {}) {
    this.line(x1, y, x2, y, { colour });
    for (const [x, turn] of [
      [x1, 1],
      [x2, -1],
    ])
      this.add(`<path d="M${x} ${y}l${9 * turn} -4v8z" fill="${colour}"/>`);
    for (const x of [x1, x2]) this.line(x, y - 7, x, y + 7, { colour, width: 1 });
    return this.text(words, (x1 + x2) / 2, y - 7, size, { colour, anchor: 'middle' });
  }

  /** A vertical dimension from y1 to y2 at x with its number to the right; returns the number's box. */
  upright(y1, y2, x, words, { colour = INK, size = 17 } = {}) {
    this.line(x, y1, x, y2, { colour });
    for (const [y, turn] of [
      [y1, 1],
      [y2, -1],
    ])
      this.add(`<path d="M${x} ${y}l-4 ${9 * turn}h8z" fill="${colour}"/>`);
    for (const y of [y1, y2]) this.line(x - 7, y, x + 7, y, { colour, width: 1 });
    return this.text(words, x + 8, (y1 + y2) / 2 + size / 3, size, { colour });
  }

  toString() {
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${this.width}" height="${this.height}" viewBox="0 0 ${this.width} ${this.height}">${this.parts.join('')}</svg>`;
  }
}

export const draw = {
  int: (random, low, high) => low + Math.floor(random() * (high - low + 1)),
  one: (random, list) => list[Math.floor(random() * list.length)],
};
