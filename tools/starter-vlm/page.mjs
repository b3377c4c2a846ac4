/** A page of words that mean nothing: what stands there cannot be guessed, so it has to be read. */
import { Sheet, draw } from '../sample/sheet.mjs';

const UPPER = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
const LOWER = 'abcdefghijklmnopqrstuvwxyz';
const DIGITS = '0123456789';
const COLOURS = ['#1c2430', '#1c2430', '#1c2430', '#1a56b0', '#1d7a3a', '#7b3fa0', '#b3261e'];
const GROUNDS = ['#ffffff', '#ffffff', '#ffffff', '#f3f5f8', '#fff8d6', '#eef7ea', '#e6eaf0'];

const of = (random, letters, low, high) =>
  Array.from({ length: draw.int(random, low, high) }, () => draw.one(random, [...letters])).join('');

const FORMS = [
  (r) => of(r, DIGITS, 1, 4),
  (r) => of(r, DIGITS, 1, 4),
  (r) => `${of(r, DIGITS, 1, 3)}.${of(r, DIGITS, 1, 1)}`,
  (r) => `${of(r, DIGITS, 1, 3)} ${draw.one(r, ['mm', 'V', 'A', 'cm', 'cm²'])}`,
  (r) => `${of(r, DIGITS, 1, 3)} ${draw.one(r, ['+', '-', '×', ':'])} ${of(r, DIGITS, 1, 3)} = ${of(r, DIGITS, 1, 4)}`,
  (r) => `${of(r, DIGITS, 1, 1)}x + ${of(r, DIGITS, 1, 2)} = ${of(r, DIGITS, 1, 3)}`,
  (r) => `${of(r, DIGITS, 1, 1)}.  ${of(r, LOWER, 3, 6)}: ${of(r, DIGITS, 1, 4)}°`,
  (r) => `${of(r, UPPER, 1, 3)}-${of(r, DIGITS, 3, 4)}`,
  (r) => `${of(r, UPPER, 1, 3)}${of(r, DIGITS, 1, 4)} / ${of(r, UPPER, 1, 3)}${of(r, DIGITS, 1, 4)}`,
  (r) => `${of(r, UPPER, 1, 1)}${of(r, LOWER, 2, 7)} ${of(r, UPPER, 1, 1)}${of(r, DIGITS, 2, 2)}`,
  (r) => of(r, LOWER, 2, 8),
  (r) => `(${of(r, LOWER, 2, 4)}, ${of(r, UPPER, 1, 2)}?)`,
];

export function page(random) {
  const [width, height] = draw.one(random, [
    [560, 420],
    [640, 420],
    [420, 560],
    [480, 480],
  ]);
  const sheet = new Sheet(width, height, draw.one(random, GROUNDS));
  for (let y = draw.int(random, 16, 50); ;) {
    const size = draw.int(random, 12, 27);
    if (y + size * 1.3 > height) break;
    const look = { font: draw.one(random, ['regular', 'regular', 'bold', 'mono']), colour: draw.one(random, COLOURS) };
    for (let x = draw.int(random, 6, 90); ;) {
      const words = draw.one(random, FORMS)(random);
      // No letter of these fonts is wider than this.
      if (x + words.length * size * 0.75 > width - 6) break;
      x = sheet.text(words, x, y + size, size, look)[2] + draw.int(random, 14, 60);
    }
    y += Math.round(size * (1.25 + random() * 0.9));
  }
  return { svg: sheet.toString(), seen: sheet.seen, cell: 'page', record: null, questions: [] };
}
