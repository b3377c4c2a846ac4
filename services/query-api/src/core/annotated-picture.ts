import { placePlates, type Frame, type Place } from './label-plates.ts';
import { clamp, grown, within, type Rect, type Size } from './rects.ts';

export type Colour = readonly [red: number, green: number, blue: number];

/** A box to draw: `upright` as in `AnswerBox`. */
export interface BoxToDraw {
  upright: readonly [number, number, number, number];
  label: string;
}

/** A box's name on its plate. Text begins at `textX` on the line `baselineY`. */
export interface Plate {
  rect: Rect;
  text: string;
  textX: number;
  baselineY: number;
  ink: Colour;
}

/**
 * A box as it is drawn. Its frame lies around `inner`, which is the box itself, so that nothing of it is hidden; where the canvas
 * ends and the box is large enough, the frame's side lies within the box instead.
 */
export interface Mark extends Frame {
  box: Rect;
  colour: Colour;
  /** Null where the canvas has no room for letters. */
  plate: Plate | null;
  leader: Place['leader'];
}

export interface Drawing {
  canvas: Size;
  fontPx: number;
  /** A frame's rings from within to without: one of them stands out from any picture. */
  frame: { lightPx: number; colourPx: number; darkPx: number };
  /** In the order of the boxes that were given. */
  marks: Mark[];
}

/** Width of a text in pixels. */
export type Measure = (text: string, fontPx: number) => number;

/** Okabe and Ito's colours, which people with any colour vision tell apart; black and white are the rings'. */
const COLOURS: readonly Colour[] = [
  [0, 114, 178],
  [213, 94, 0],
  [0, 158, 115],
  [240, 228, 66],
  [204, 121, 167],
  [86, 180, 233],
  [230, 159, 0],
];
export const BLACK: Colour = [0, 0, 0];
export const WHITE: Colour = [255, 255, 255];

/** Smaller pictures are enlarged, by a whole factor, until letters have room. */
const MIN_LONG_SIDE_PX = 512;
const MIN_SHORT_SIDE_PX = 64;
const MIN_FONT_PX = 10;
const MAX_LABEL_EMS = 22;
/** Beyond these a picture is all plates, and finding room for more costs by the square. */
const MAX_PLATES = 50;
/** Boxes are whole pixels divided by a picture's size: what is nearer to a whole one than this is that one. */
const ROUNDING = 1e-6;

/** The size that a picture is drawn at, at most `maxPx` on its long side. */
export function canvasOf(upright: Size, maxPx: number): Size {
  const long = Math.max(upright.widthPx, upright.heightPx);
  const short = Math.min(upright.widthPx, upright.heightPx);
  const wanted = Math.max(Math.ceil(MIN_LONG_SIDE_PX / long), Math.ceil(MIN_SHORT_SIDE_PX / short));
  const scale = long > maxPx ? maxPx / long : Math.min(wanted, Math.floor(maxPx / long));
  return {
    widthPx: Math.max(1, Math.round(upright.widthPx * scale)),
    heightPx: Math.max(1, Math.round(upright.heightPx * scale)),
  };
}

/** Where boxes, their frames and their labels go on a canvas. Labels are what `shownLabels` made of them. */
export function annotatedPicture(canvas: Size, boxes: BoxToDraw[], measure: Measure): Drawing {
  const { widthPx, heightPx } = canvas;
  const long = Math.max(widthPx, heightPx);
  const edgePx = long > 1200 ? 2 : 1;
  const frame = { lightPx: edgePx, colourPx: clamp(Math.round(long / 320), 2, 5), darkPx: edgePx };
  const fontPx = Math.min(clamp(Math.round(long / 48), 15, 36), Math.floor(Math.min(widthPx, heightPx) / 2));
  const framePx = frame.darkPx + frame.colourPx + frame.lightPx;
  const marks = boxes.map(({ upright }, index): Mark => {
    const box = boxOn(canvas, upright);
    const inner = innerOf(canvas, box, framePx);
    const outer = within(canvas, grown(inner, framePx));
    return { box, inner, outer, colour: COLOURS[index % COLOURS.length] ?? BLACK, plate: null, leader: null };
  });
  if (fontPx < MIN_FONT_PX) return { canvas, fontPx, frame, marks };

  const padPx = Math.round(fontPx * 0.4) + 1;
  const maxTextPx = Math.min(widthPx - 2 * padPx, MAX_LABEL_EMS * fontPx);
  const plates = marks.slice(0, MAX_PLATES).map((_, index) => {
    const text = cut(boxes[index]?.label ?? '', maxTextPx, (text) => measure(text, fontPx)) ?? String(index + 1);
    return { text, widthPx: Math.ceil(measure(text, fontPx)) + 2 * padPx, heightPx: Math.round(fontPx * 1.5) };
  });
  for (const [index, place] of placePlates(canvas, marks, plates).entries()) {
    const mark = marks[index];
    const plate = plates[index];
    if (!mark || !plate || !place) continue;
    const [left, top] = place.rect;
    mark.plate = {
      rect: place.rect,
      text: plate.text,
      textX: left + padPx,
      // The middle of capitals and of Chinese characters alike lies 0.37 em above the line.
      baselineY: Math.round(top + plate.heightPx / 2 + fontPx * 0.37),
      ink: inkOn(mark.colour),
    };
    mark.leader = place.leader;
  }
  return { canvas, fontPx, frame, marks };
}

/** A label as it can be drawn: one line of printable characters, at most 200 of them; its number where nothing is left. */
export function shownLabel(label: string, index: number): string {
  const line = label
    .slice(0, 2_000)
    .toWellFormed()
    .normalize('NFC')
    // Controls, line ends, and marks that turn the direction of writing.
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]|\s/gu, ' ')
    .replaceAll(/ {2,}/g, ' ')
    .trim();
  return line === '' ? String(index + 1) : graphemesOf(line).slice(0, 200).join('');
}

/** White or black, whichever stands out more: one of them has a contrast of 4.58 or more to any colour. */
function inkOn(colour: Colour): Colour {
  return contrast(colour, WHITE) > contrast(colour, BLACK) ? WHITE : BLACK;
}

/** WCAG 2.2's contrast ratio of two sRGB colours, 1 to 21. */
export function contrast(one: Colour, other: Colour): number {
  const [a, b] = [luminance(one), luminance(other)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

function luminance(colour: Colour): number {
  const [r = 0, g = 0, b = 0] = colour.map((value) => {
    const c = value / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** The whole pixels that a box touches: at the picture's own size, and at whole multiples of it, the box to the pixel. */
function boxOn({ widthPx, heightPx }: Size, [l, t, r, b]: BoxToDraw['upright']): Rect {
  const left = clamp(Math.floor(l * widthPx + ROUNDING), 0, widthPx - 1);
  const top = clamp(Math.floor(t * heightPx + ROUNDING), 0, heightPx - 1);
  const right = clamp(Math.ceil(r * widthPx - ROUNDING), left + 1, widthPx);
  const bottom = clamp(Math.ceil(b * heightPx - ROUNDING), top + 1, heightPx);
  return [left, top, right, bottom];
}

function innerOf({ widthPx, heightPx }: Size, box: Rect, framePx: number): Rect {
  const [left, top, right, bottom] = box;
  const isWide = right - left >= 4 * framePx;
  const isHigh = bottom - top >= 4 * framePx;
  return [
    isWide ? Math.max(left, framePx) : left,
    isHigh ? Math.max(top, framePx) : top,
    isWide ? Math.min(right, widthPx - framePx) : right,
    isHigh ? Math.min(bottom, heightPx - framePx) : bottom,
  ];
}

/** The longest beginning, with an ellipsis, that is no wider than `maxPx`; null when not even one character is. */
function cut(label: string, maxPx: number, measure: (text: string) => number): string | null {
  if (measure(label) <= maxPx) return label;
  const graphemes = graphemesOf(label);
  let fits = 0;
  let tooMany = graphemes.length;
  while (tooMany - fits > 1) {
    const half = (fits + tooMany) >> 1;
    if (measure(`${graphemes.slice(0, half).join('').trimEnd()}…`) <= maxPx) fits = half;
    else tooMany = half;
  }
  return fits === 0 ? null : `${graphemes.slice(0, fits).join('').trimEnd()}…`;
}

function graphemesOf(text: string): string[] {
  return [...new Intl.Segmenter('en', { granularity: 'grapheme' }).segment(text)].map(({ segment }) => segment);
}
