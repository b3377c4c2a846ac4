import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  annotatedPicture,
  BLACK,
  canvasOf,
  contrast,
  shownLabel,
  WHITE,
  type BoxToDraw,
  type Drawing,
} from './annotated-picture.ts';
import { distance, grown, overlap, placed, type Rect, type Size } from './rects.ts';

/** Letters of one width: layout asks for nothing else. */
const measure = (text: string, fontPx: number) => [...text].length * fontPx * 0.6;

const pictures = fc.record({ widthPx: fc.integer({ min: 1, max: 5_000 }), heightPx: fc.integer({ min: 1, max: 5_000 }) });
const labels = fc.string({ unit: fc.constantFrom('a', 'W', ' ', '主', '板', '8', '🙂'), maxLength: 60 });

/** A box of whole pixels of a picture. */
function boxesOf({ widthPx, heightPx }: Size, maxLength: number): fc.Arbitrary<(BoxToDraw & { pixels: Rect })[]> {
  const side = (size: number) =>
    fc.tuple(fc.nat(size - 1), fc.nat(size - 1)).map(([a, b]) => [Math.min(a, b), Math.max(a, b) + 1]);
  return fc.array(
    fc.tuple(side(widthPx), side(heightPx), labels).map(([[l = 0, r = 0], [t = 0, b = 0], label]) => ({
      pixels: [l, t, r, b] as Rect,
      upright: [l / widthPx, t / heightPx, r / widthPx, b / heightPx] as const,
      label,
    })),
    { maxLength },
  );
}

function layOut(picture: Size, boxes: BoxToDraw[], maxPx = 2048): Drawing {
  const shown = boxes.map(({ upright, label }, index) => ({ upright, label: shownLabel(label, index) }));
  return annotatedPicture(canvasOf(picture, maxPx), shown, measure);
}

test('a canvas keeps within its bound, and small pictures grow by a whole factor', () => {
  fc.assert(
    fc.property(pictures, fc.integer({ min: 64, max: 2048 }), ({ widthPx, heightPx }, maxPx) => {
      const canvas = canvasOf({ widthPx, heightPx }, maxPx);
      expect(Math.max(canvas.widthPx, canvas.heightPx)).toBeLessThanOrEqual(maxPx);
      if (Math.max(widthPx, heightPx) > maxPx) return;
      expect(canvas.widthPx % widthPx).toBe(0);
      expect(canvas.widthPx / widthPx).toBe(canvas.heightPx / heightPx);
    }),
  );
  expect(canvasOf({ widthPx: 64, heightPx: 48 }, 2048)).toEqual({ widthPx: 512, heightPx: 384 });
  expect(canvasOf({ widthPx: 400, heightPx: 10 }, 2048)).toEqual({ widthPx: 2000, heightPx: 50 });
  expect(canvasOf({ widthPx: 4096, heightPx: 1024 }, 2048)).toEqual({ widthPx: 2048, heightPx: 512 });
});

test('where the picture is not made smaller every box is exact to the pixel; else it touches what it touched', () => {
  const cases = pictures.chain((picture) => fc.tuple(fc.constant(picture), boxesOf(picture, 5)));
  fc.assert(
    fc.property(cases, ([picture, boxes]) => {
      const { canvas, marks } = layOut(picture, boxes);
      const [x, y] = [canvas.widthPx / picture.widthPx, canvas.heightPx / picture.heightPx];
      for (const [index, { pixels }] of boxes.entries()) {
        const [l, t, r, b] = pixels;
        const box = marks[index]?.box ?? [0, 0, 0, 0];
        if (x >= 1 && y >= 1) expect(box).toEqual([l * x, t * y, r * x, b * y]);
        else {
          expect(overlap(box, [l * x, t * y, r * x, b * y])).toBeCloseTo((r - l) * x * (b - t) * y, 3);
          expect(overlap(box, grown([l * x, t * y, r * x, b * y], 1))).toBeCloseTo((box[2] - box[0]) * (box[3] - box[1]), 3);
        }
      }
    }),
  );
});

test('frames hide nothing of a box but where the canvas ends', () => {
  const picture = { widthPx: 800, heightPx: 600 };
  fc.assert(
    fc.property(boxesOf(picture, 4), (boxes) => {
      const { marks, frame } = layOut(picture, boxes);
      const framePx = frame.lightPx + frame.colourPx + frame.darkPx;
      for (const { box, inner, outer } of marks) {
        for (const side of [0, 1] as const) {
          const isLong = box[side + 2]! - box[side] >= 4 * framePx;
          expect(inner[side]).toBe(isLong ? Math.max(box[side], framePx) : box[side]);
        }
        expect(overlap(outer, [0, 0, 800, 600])).toBe((outer[2] - outer[0]) * (outer[3] - outer[1]));
      }
    }),
  );
});

test('plates lie on the canvas, are wide enough for their text, touch their box or are led to it', () => {
  const cases = pictures.chain((picture) => fc.tuple(fc.constant(picture), boxesOf(picture, 12)));
  fc.assert(
    fc.property(cases, ([picture, boxes]) => {
      const { canvas, fontPx, marks } = layOut(picture, boxes);
      for (const { plate, outer, leader } of marks) {
        if (!plate) {
          expect(fontPx).toBeLessThan(10);
          continue;
        }
        const [left, top, right, bottom] = plate.rect;
        expect(left >= 0 && top >= 0 && right <= canvas.widthPx && bottom <= canvas.heightPx).toBe(true);
        expect(plate.textX + measure(plate.text, fontPx)).toBeLessThan(right);
        expect(plate.text).not.toBe('');
        expect(distance(plate.rect, outer) > 0).toBe(leader !== null);
      }
    }),
  );
});

test('plates overlap only where no place of the canvas is free', () => {
  const small = fc.record({ widthPx: fc.integer({ min: 1, max: 900 }), heightPx: fc.integer({ min: 1, max: 200 }) });
  const cases = small.chain((picture) => fc.tuple(fc.constant(picture), boxesOf(picture, 50)));
  let overlapping = 0;
  let free = 0;
  fc.assert(
    fc.property(cases, ([picture, boxes]) => {
      const { canvas, marks } = layOut(picture, boxes);
      const rects = marks.flatMap(({ plate }) => (plate ? [plate.rect] : []));
      for (const [index, rect] of rects.entries())
        for (const other of rects.slice(0, index)) {
          free++;
          if (overlap(rect, other) === 0) continue;
          overlapping++;
          // The later of the two found no free place when fewer were taken; a wider one would find none either.
          const widthPx = Math.max(rect[2] - rect[0], other[2] - other[0]);
          expect(freePlace(canvas, { widthPx, heightPx: rect[3] - rect[1] }, rects)).toBeNull();
        }
    }),
    { seed: 7, numRuns: 200 },
  );
  expect(overlapping).toBeGreaterThan(0);
  expect(free).toBeGreaterThan(10 * overlapping);
});

function freePlace(canvas: Size, size: Size, taken: Rect[]): Rect | null {
  for (let y = 0; y + size.heightPx <= canvas.heightPx; y += size.heightPx / 2)
    for (let x = 0; x + size.widthPx <= canvas.widthPx; x += size.heightPx / 2) {
      const rect = placed(x, y, size);
      if (rect[2] <= canvas.widthPx && rect[3] <= canvas.heightPx && taken.every((other) => overlap(rect, other) === 0))
        return rect;
    }
  return null;
}

test('a label stands above its box, below where there is no room above, inside where there is none around it', () => {
  const at = (upright: BoxToDraw['upright']) => layOut({ widthPx: 640, heightPx: 480 }, [{ upright, label: 'fan' }]).marks[0];
  const above = at([0.5, 0.5, 0.7, 0.7]);
  expect(above?.plate?.rect[3]).toBe(above?.outer[1]);
  const below = at([0.5, 0, 0.7, 0.2]);
  expect(below?.plate?.rect[1]).toBe(below?.outer[3]);
  const beside = at([0.5, 0, 0.7, 1]);
  expect(beside?.plate?.rect[0]).toBe(beside?.outer[2]);
  const all = at([0, 0, 1, 1]);
  expect(all?.plate?.rect.slice(0, 2)).toEqual(all?.inner.slice(0, 2));
});

test('a label keeps off the other boxes, and within the box around its own', () => {
  const { marks } = layOut({ widthPx: 1000, heightPx: 800 }, [
    { upright: [0.1, 0.1, 0.9, 0.9], label: 'board' },
    { upright: [0.3, 0.4, 0.4, 0.5], label: 'screw' },
    { upright: [0.3, 0.3, 0.4, 0.395], label: 'nut' },
  ]);
  const [board, screw, nut] = marks;
  expect(overlap(screw?.plate?.rect ?? [0, 0, 0, 0], nut?.outer ?? [0, 0, 0, 0])).toBe(0);
  expect(screw?.plate?.rect[1]).toBe(screw?.outer[3]);
  expect(overlap(nut?.plate?.rect ?? [0, 0, 0, 0], board?.inner ?? [0, 0, 0, 0])).toBeGreaterThan(0);
});

test('long labels are cut with an ellipsis; a box without one shows its number', () => {
  const whole = [0.2, 0.2, 0.4, 0.4] as const;
  const { marks, fontPx } = layOut({ widthPx: 600, heightPx: 600 }, [
    { upright: whole, label: '散热器'.repeat(100) },
    { upright: whole, label: ' \n\u202e ' },
    { upright: whole, label: 'ok' },
  ]);
  const text = marks[0]?.plate?.text ?? '';
  expect(text).toMatch(/^(散热器)+散?热?…$/u);
  expect(measure(text, fontPx)).toBeLessThanOrEqual(22 * fontPx);
  expect(measure(`${text}散`, fontPx)).toBeGreaterThan(22 * fontPx);
  expect(marks[1]?.plate?.text).toBe('2');
  expect(marks[2]?.plate?.text).toBe('ok');
});

test('what steers text is taken out of labels; what combines is kept', () => {
  expect(shownLabel('a\u0000b\r\n\tc\u2028d', 0)).toBe('a b c d');
  expect(shownLabel('\u202eabc\u2066 \ufeff', 0)).toBe('abc');
  expect(shownLabel('e\u0301 \ud800x', 0)).toBe('é \ufffdx');
  expect(shownLabel('<b>&amp;"x"', 0)).toBe('<b>&amp;"x"');
  expect([...shownLabel('🙂'.repeat(5_000), 0)]).toHaveLength(200);
});

test('eight boxes have seven colours, each told from the other, with ink of a contrast of 4.5 or more', () => {
  const boxes = Array.from({ length: 8 }, (_, i) => ({ upright: [i / 8, 0.3, i / 8 + 0.05, 0.6] as const, label: `${i}` }));
  const { marks } = layOut({ widthPx: 1000, heightPx: 1000 }, boxes);
  expect(new Set(marks.map(({ colour }) => colour.join())).size).toBe(7);
  for (const { colour, plate } of marks) expect(contrast(colour, plate?.ink ?? colour)).toBeGreaterThanOrEqual(4.5);
  expect(contrast(BLACK, WHITE)).toBeCloseTo(21);
});

test('only so many boxes have labels; all have frames', () => {
  const boxes = Array.from({ length: 60 }, (_, i) => ({ upright: [0.1, i / 60, 0.2, (i + 1) / 60] as const, label: 'x' }));
  const { marks } = layOut({ widthPx: 2000, heightPx: 2000 }, boxes);
  expect(marks.filter(({ plate }) => plate)).toHaveLength(50);
  expect(marks).toHaveLength(60);
});
