import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type * as HarfBuzz from 'harfbuzzjs';
import type { Font } from 'harfbuzzjs';
import type { Point } from '../core/rects.ts';

const require = createRequire(import.meta.url);

/** Packages of fonts, cut into files by characters, in the order in which they are asked for a character. */
const FAMILIES = [
  { name: 'noto-sans-sc', list: () => require.resolve('@fontsource-variable/noto-sans-sc/unicode.json') },
  // Greek, mathematical signs, technical symbols: the other one has none.
  { name: 'open-sans', list: () => require.resolve('@fontsource-variable/open-sans/unicode.json') },
];
const WEIGHT = 600;
/** Of Noto Sans SC; Open Sans is scaled to it. */
const UNITS_PER_EM = 1000;
/** Straight pieces of a curve: at 36 px less than a hundredth of a pixel off. */
const PIECES = 8;
/** Signs of drawings that no font here has, and what reads the same. */
const STAND_INS = new Map([['⌀', 'Ø']]);
/** Its font lends the crossed box for what no font has. */
const KNOWN = '?';

/**
 * The letters of labels, from fonts that come with the project: what is drawn depends on no font of the machine, and no text is
 * ever parsed as markup. Nothing is read before it is needed; what was read is kept (all 111 files: about 50 MB). Characters that no
 * font has are drawn as a crossed box.
 */
export class LabelFont {
  #opening: Promise<typeof HarfBuzz> | undefined;
  #harfBuzz: typeof HarfBuzz | undefined;
  /** By character: the files that may have it. */
  readonly #places = new Map<number, string[]>();
  readonly #loading = new Map<string, Promise<void>>();
  readonly #fonts = new Map<string, Font>();

  /** Reads what the texts need: `measure` and `outline` know only texts whose characters were loaded. */
  async load(texts: string[]): Promise<void> {
    this.#harfBuzz = await (this.#opening ??= this.#open());
    for (const character of new Set([KNOWN, ...drawable(texts.join(''))]))
      for (const place of this.#places.get(codeOf(character)) ?? []) {
        // One after the other: each takes some milliseconds of the event loop, and what waits comes in between.
        await this.#loadFile(place);
        if (has(this.#fonts.get(place), character)) break;
      }
  }

  /** Width in pixels at a font size. */
  measure(text: string, fontPx: number): number {
    return this.#shape(text).reduce((sum, { advance }) => sum + advance, 0) * (fontPx / UNITS_PER_EM);
  }

  /** The text's contours in pixels, y downwards, beginning at 0 on the line y = 0. */
  outline(text: string, fontPx: number): Point[][] {
    const scale = fontPx / UNITS_PER_EM;
    const contours: Point[][] = [];
    let penX = 0;
    for (const { font, glyph, advance, x, y } of this.#shape(text)) {
      const [left, base] = [penX + x, y];
      for (const contour of contoursOf(font, glyph))
        contours.push(contour.map(([x, y]) => [(left + x) * scale, -(base + y) * scale]));
      penX += advance;
    }
    return contours;
  }

  /** Glyphs from left to right, with advances and offsets in thousandths of an em. */
  #shape(text: string): { font: Font; glyph: number; advance: number; x: number; y: number }[] {
    const harfBuzz = this.#harfBuzz;
    if (!harfBuzz) throw new Error('The label font was used before it was loaded.');
    return this.#runs(text).flatMap(({ font, text }) => {
      const buffer = new harfBuzz.Buffer();
      buffer.addText(text);
      buffer.guessSegmentProperties();
      harfBuzz.shape(font, buffer);
      return buffer.getGlyphInfosAndPositions().map(({ codepoint, xAdvance = 0, xOffset = 0, yOffset = 0 }) => ({
        font,
        glyph: codepoint,
        advance: xAdvance,
        x: xOffset,
        y: yOffset,
      }));
    });
  }

  /** Pieces of a text that one font has; what combines with the character before it stays with that one where its font can. */
  #runs(text: string): { font: Font; text: string }[] {
    const runs: { font: Font; text: string }[] = [];
    for (const character of drawable(text)) {
      const last = runs.at(-1);
      const font = last && combines(character, last.font) ? last.font : this.#fontOf(character);
      if (last?.font === font) last.text += character;
      else runs.push({ font, text: character });
    }
    return runs;
  }

  #fontOf(character: string): Font {
    for (const place of this.#places.get(codeOf(character)) ?? []) {
      const font = this.#fonts.get(place);
      if (font && has(font, character)) return font;
    }
    if (character === KNOWN) throw new Error('The label font was used before it was loaded.');
    return this.#fontOf(KNOWN);
  }

  async #open(): Promise<typeof HarfBuzz> {
    try {
      for (const { name, list } of FAMILIES) {
        const folder = join(dirname(list()), 'files');
        const files = JSON.parse(await readFile(list(), 'utf8')) as Record<string, string>;
        for (const [subset, ranges] of Object.entries(files)) {
          const place = join(folder, `${name}-${subset.replaceAll(/[[\]]/g, '')}-wght-normal.woff2`);
          for (const code of codesOf(ranges)) this.#places.set(code, [...(this.#places.get(code) ?? []), place]);
        }
      }
      return await import('harfbuzzjs');
    } catch (error) {
      this.#opening = undefined;
      this.#places.clear();
      throw error;
    }
  }

  #loadFile(place: string): Promise<void> {
    const loading = this.#loading.get(place) ?? this.#read(place);
    this.#loading.set(place, loading);
    return loading;
  }

  async #read(place: string): Promise<void> {
    try {
      const { default: decompress } = await import('woff2-encoder/decompress');
      const { Blob, Face, Font, Variation } = await import('harfbuzzjs');
      const font = new Font(new Face(new Blob(await decompress(await readFile(place)))));
      font.setScale(UNITS_PER_EM, UNITS_PER_EM);
      font.setVariations([new Variation('wght', WEIGHT)]);
      this.#fonts.set(place, font);
    } catch (error) {
      this.#loading.delete(place);
      throw error;
    }
  }
}

function combines(character: string, font: Font): boolean {
  return /\p{Join_Control}|\p{Variation_Selector}/u.test(character) || (/\p{M}/u.test(character) && has(font, character));
}

function has(font: Font | undefined, character: string): boolean {
  return font?.nominalGlyph(codeOf(character)) !== undefined;
}

function drawable(text: string): string {
  return [...text].map((character) => STAND_INS.get(character) ?? character).join('');
}

/** Of ranges as CSS writes them: `U+20-7e,U+b0`. */
function* codesOf(ranges: string): Generator<number> {
  for (const range of ranges.split(',')) {
    const [first = 0, last = first] = range
      .slice('U+'.length)
      .split('-')
      .map((code) => Number.parseInt(code, 16));
    for (let code = first; code <= last; code++) yield code;
  }
}

function codeOf(character: string): number {
  return character.codePointAt(0) ?? 0;
}

function contoursOf(font: Font, glyph: number): Point[][] {
  const contours: Point[][] = [];
  let [x, y] = [0, 0];
  for (const { type, values } of font.glyphToJson(glyph)) {
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = values;
    const contour = contours.at(-1) ?? [];
    if (type === 'M') contours.push([[a, b]]);
    else if (type === 'L') contour.push([a, b]);
    else if (type === 'Q') for (const t of STEPS) contour.push([quadratic(x, a, c, t), quadratic(y, b, d, t)]);
    else if (type === 'C') for (const t of STEPS) contour.push([cubic(x, a, c, e, t), cubic(y, b, d, f, t)]);
    if (type !== 'Z') [x = 0, y = 0] = values.slice(-2);
  }
  return contours;
}

const STEPS = Array.from({ length: PIECES }, (_, i) => (i + 1) / PIECES);

function quadratic(p0: number, p1: number, p2: number, t: number): number {
  return (1 - t) ** 2 * p0 + 2 * (1 - t) * t * p1 + t ** 2 * p2;
}

function cubic(p0: number, p1: number, p2: number, p3: number, t: number): number {
  return (1 - t) ** 3 * p0 + 3 * (1 - t) ** 2 * t * p1 + 3 * (1 - t) * t ** 2 * p2 + t ** 3 * p3;
}
