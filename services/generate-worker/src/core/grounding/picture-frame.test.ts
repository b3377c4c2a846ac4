import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { BoxFrame } from '../generator.ts';
import {
  letterboxFrame,
  mapBox,
  uprightSize,
  writeBox,
  type Box,
  type PictureFrame,
  type PictureStep,
  type Size,
} from './picture-frame.ts';

/** Where the stored point goes when viewers turn the picture, written out of the EXIF standard's table of eight, each by itself. */
const TURNED: Record<number, (x: number, y: number, w: number, h: number) => [number, number]> = {
  1: (x, y) => [x, y],
  2: (x, y, w) => [w - x, y],
  3: (x, y, w, h) => [w - x, h - y],
  4: (x, y, _w, h) => [x, h - y],
  5: (x, y) => [y, x],
  6: (x, y, _w, h) => [h - y, x],
  7: (x, y, w, h) => [h - y, w - x],
  8: (x, y, w) => [y, w - x],
};

/** The way forward, point by point: knows nothing of boxes, clamping or the way back. */
function forward([x, y]: [number, number], frame: PictureFrame): [number, number] {
  let at = TURNED[frame.orientation]!(x, y, frame.widthPx, frame.heightPx);
  let size = uprightSize(frame, frame.orientation);
  for (const step of frame.steps) {
    if (step.kind === 'resize') at = [(at[0] / size.widthPx) * step.widthPx, (at[1] / size.heightPx) * step.heightPx];
    if (step.kind === 'crop') at = [at[0] - step.leftPx, at[1] - step.topPx];
    if (step.kind === 'pad') at = [at[0] + step.leftPx, at[1] + step.topPx];
    size = step;
  }
  return at;
}

function forwardBox([left, top, right, bottom]: Box, frame: PictureFrame): Box {
  const [a, b] = [forward([left, top], frame), forward([right, bottom], frame)];
  return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
}

const side = fc.integer({ min: 1, max: 4000 });
const orientation = fc.integer({ min: 1, max: 8 });
const size = fc.record({ widthPx: side, heightPx: side });
const part = fc.double({ min: 0, max: 1, noNaN: true });

/** A box of whole pixels, at least one wide and high, within a picture. */
function boxIn({ widthPx, heightPx }: Size, [a, b, c, d]: number[]): Box {
  const [left, top] = [Math.floor(a! * (widthPx - 1)), Math.floor(b! * (heightPx - 1))];
  return [left, top, left + 1 + Math.floor(c! * (widthPx - left - 1)), top + 1 + Math.floor(d! * (heightPx - top - 1))];
}

/** Any chain of crops, resizes and paddings, sizes chosen as parts of what stands before. */
const steps = fc.array(fc.record({ kind: fc.constantFrom('crop', 'resize', 'pad'), parts: fc.tuple(part, part, part, part) }), {
  maxLength: 5,
});

function buildSteps(from: Size, wanted: { kind: string; parts: number[] }[]): PictureStep[] {
  let before = from;
  return wanted.map(({ kind, parts }) => {
    const [left, top, right, bottom] = boxIn(before, parts);
    const [p, q, r, s] = parts.map((x) => Math.round(x * 500)) as Box;
    const step: PictureStep =
      kind === 'crop'
        ? { kind, leftPx: left, topPx: top, widthPx: right - left, heightPx: bottom - top }
        : kind === 'resize'
          ? { kind, widthPx: 1 + p * 4, heightPx: 1 + q * 4 }
          : { kind: 'pad', leftPx: p, topPx: q, widthPx: before.widthPx + p + r, heightPx: before.heightPx + q + s };
    before = step;
    return step;
  });
}

/** What is left of a stored box once every step that cuts has cut, in stored pixels: found by clamping the forward box step by step. */
function shown(box: Box, frame: PictureFrame): Box {
  let window: Box = [0, 0, frame.widthPx, frame.heightPx];
  frame.steps.forEach((step, i) => {
    if (step.kind !== 'crop') return;
    // The crop's window, as an area of the stored picture: two corners found by bisection of nothing more than `forward`.
    const before = { ...frame, steps: frame.steps.slice(0, i) };
    const [o, e] = [forward([0, 0], before), forward([frame.widthPx, frame.heightPx], before)];
    const swapped = frame.orientation >= 5;
    const solve = (lowest: number, highest: number, from: number, to: number, length: number) => {
      const ends = [((lowest - from) / (to - from)) * length, ((highest - from) / (to - from)) * length];
      return [Math.min(...ends), Math.max(...ends)] as const;
    };
    const xs = [step.leftPx, step.leftPx + step.widthPx] as const;
    const ys = [step.topPx, step.topPx + step.heightPx] as const;
    const onX = solve(...xs, o[0], e[0], swapped ? frame.heightPx : frame.widthPx);
    const onY = solve(...ys, o[1], e[1], swapped ? frame.widthPx : frame.heightPx);
    const [storedX, storedY] = swapped ? [onY, onX] : [onX, onY];
    window = [
      Math.max(window[0], storedX[0]),
      Math.max(window[1], storedY[0]),
      Math.min(window[2], storedX[1]),
      Math.min(window[3], storedY[1]),
    ];
  });
  return [Math.max(box[0], window[0]), Math.max(box[1], window[1]), Math.min(box[2], window[2]), Math.min(box[3], window[3])];
}

const written = (box: Box, boxFrame: BoxFrame, canvas: Size): Box => {
  const unit = boxFrame === 'unit' ? 1 : boxFrame === 'thousand' ? 1000 : null;
  if (unit === null) return box;
  const [x, y] = [unit / canvas.widthPx, unit / canvas.heightPx];
  return [box[0] * x, box[1] * y, box[2] * x, box[3] * y];
};

test('a letterboxed box comes back as the very pixels it was, for every orientation, size and frame', () => {
  fc.assert(
    fc.property(
      size,
      orientation,
      fc.integer({ min: 1, max: 1600 }),
      fc.tuple(part, part, part, part),
      fc.constantFrom<BoxFrame>('square_pixels', 'unit', 'thousand', 'picture_pixels'),
      (stored, exif, sidePx, parts, boxFrame) => {
        const frame = letterboxFrame(stored, exif, sidePx);
        const box = boxIn(stored, parts);
        const canvas = { widthPx: sidePx, heightPx: sidePx };
        const seen =
          boxFrame === 'picture_pixels'
            ? forwardBox(box, { ...frame, steps: [] })
            : written(forwardBox(box, frame), boxFrame, canvas);
        const mapped = mapBox(seen, boxFrame, frame);
        expect(mapped?.pixels).toEqual(box);
        const upright = uprightSize(stored, exif);
        const [l, t, r, b] = forwardBox(box, { ...frame, steps: [] });
        expectClose(mapped!.normalized, [
          box[0] / stored.widthPx,
          box[1] / stored.heightPx,
          box[2] / stored.widthPx,
          box[3] / stored.heightPx,
        ]);
        expectClose(mapped!.upright, [l / upright.widthPx, t / upright.heightPx, r / upright.widthPx, b / upright.heightPx]);
      },
    ),
    { numRuns: 3000 },
  );
});

test('a box comes back from any chain of crops, resizes and paddings, cut to what was shown', () => {
  let kept = 0;
  fc.assert(
    fc.property(size, orientation, steps, fc.tuple(part, part, part, part), (stored, exif, wanted, parts) => {
      const frame = { ...stored, orientation: exif, steps: buildSteps(uprightSize(stored, exif), wanted) };
      const box = boxIn(stored, parts);
      const [left, top, right, bottom] = shown(box, frame);
      const mapped = mapBox(forwardBox(box, frame), 'square_pixels', frame);
      const expected = [left, top, right, bottom].map(Math.round) as Box;
      // Halves may fall to either side, by the last bit of a double.
      const halves = [left, top, right, bottom].some((edge) => Math.abs((Math.abs(edge) % 1) - 0.5) < 1e-6);
      if (halves) return;
      if (expected[2] - expected[0] < 1 || expected[3] - expected[1] < 1) expect(mapped).toBeNull();
      else {
        kept++;
        expect(mapped?.pixels).toEqual(expected);
      }
    }),
    { numRuns: 5000, seed: 6 },
  );
  expect(kept).toBeGreaterThan(1500);
});

test('a model that writes whole pixels of its square is off by half such a pixel at most', () => {
  fc.assert(
    fc.property(
      size,
      orientation,
      fc.integer({ min: 16, max: 1600 }),
      fc.tuple(part, part, part, part),
      (stored, exif, sidePx, parts) => {
        const frame = letterboxFrame(stored, exif, sidePx);
        const box = boxIn(stored, parts);
        const mapped = mapBox(forwardBox(box, frame).map(Math.round), 'square_pixels', frame);
        if (!mapped) return;
        const [resize] = frame.steps;
        const upright = uprightSize(stored, exif);
        const pixel = Math.max(upright.widthPx / resize!.widthPx, upright.heightPx / resize!.heightPx);
        mapped.pixels.forEach((edge, i) => expect(Math.abs(edge - box[i]!)).toBeLessThanOrEqual(pixel / 2 + 0.5 + 1e-9));
      },
    ),
    { numRuns: 1000 },
  );
});

test('a box that is written for the model is read back to within one of its numbers, however thin it is', () => {
  fc.assert(
    fc.property(
      size,
      orientation,
      fc.integer({ min: 16, max: 1600 }),
      fc.tuple(part, part, part, part),
      fc.constantFrom<BoxFrame>('square_pixels', 'unit', 'thousand', 'picture_pixels'),
      (stored, exif, sidePx, parts, boxFrame) => {
        const frame = letterboxFrame(stored, exif, sidePx);
        const box = boxIn(stored, parts);
        const numbers = writeBox(box, boxFrame, frame);
        for (const n of numbers) expect(Number.isInteger(boxFrame === 'unit' ? Math.round(n * 1e6) / 1e3 : n)).toBe(true);
        const mapped = mapBox(numbers, boxFrame, frame);
        if (boxFrame === 'picture_pixels') return expect(mapped?.pixels).toEqual(box);
        const [resize] = frame.steps;
        const upright = uprightSize(stored, exif);
        const step = boxFrame === 'square_pixels' ? 1 : sidePx / 1_000;
        const most = step * Math.max(upright.widthPx / resize!.widthPx, upright.heightPx / resize!.heightPx);
        // A side that letterboxing made one pixel thin holds a box or none.
        if (mapped === null) return expect(Math.min(resize!.widthPx, resize!.heightPx)).toBeLessThanOrEqual(1);
        mapped.pixels.forEach((edge, i) => expect(Math.abs(edge - box[i]!)).toBeLessThanOrEqual(most + 1 + 1e-9));
      },
    ),
    // A pixel as high as a number, half beside each of two, at the edge.
    { numRuns: 3000, examples: [[{ widthPx: 942, heightPx: 5 }, 3, 1600, [0, 0, 0, 0], 'unit']] },
  );
});

test('whatever numbers come, a box lies within its picture or is none', () => {
  const number = fc.oneof(fc.double(), fc.integer({ min: -50, max: 2000 }), fc.double({ min: -1, max: 2, noNaN: true }));
  let some = 0;
  fc.assert(
    fc.property(
      size,
      orientation,
      fc.integer({ min: 1, max: 1000 }),
      fc.array(number, { minLength: 3, maxLength: 5 }),
      fc.constantFrom<BoxFrame>('square_pixels', 'picture_pixels', 'unit', 'thousand'),
      (stored, exif, sidePx, numbers, boxFrame) => {
        const mapped = mapBox(numbers, boxFrame, letterboxFrame(stored, exif, sidePx));
        if (!mapped) return;
        some++;
        const [left, top, right, bottom] = mapped.pixels;
        expect(mapped.pixels.every(Number.isInteger)).toBe(true);
        expect(
          left >= 0 && left < right && right <= stored.widthPx && top >= 0 && top < bottom && bottom <= stored.heightPx,
        ).toBe(true);
        for (const box of [mapped.normalized, mapped.upright]) {
          expect(box[0] >= 0 && box[0] < box[2] && box[2] <= 1 && box[1] >= 0 && box[1] < box[3] && box[3] <= 1).toBe(true);
        }
      },
    ),
    { numRuns: 3000, seed: 6 },
  );
  expect(some).toBeGreaterThan(150);
});

test('swapped corners are put right; padding, points and what is no number are no boxes', () => {
  const frame = letterboxFrame({ widthPx: 400, heightPx: 200 }, 1, 100);
  expect(mapBox([30, 60, 10, 30], 'square_pixels', frame)?.pixels).toEqual([40, 20, 120, 140]);
  expect(mapBox([10, 0, 30, 25], 'square_pixels', frame)).toBeNull();
  expect(mapBox([10, 0, 30, 25.1], 'square_pixels', frame)).toBeNull();
  expect(mapBox([10, 0, 30, 25.2], 'square_pixels', frame)?.pixels).toEqual([40, 0, 120, 1]);
  expect(mapBox([10, 30, 10, 60], 'square_pixels', frame)).toBeNull();
  expect(mapBox([10, 30, Number.NaN, 60], 'square_pixels', frame)).toBeNull();
  expect(mapBox([10, 30, Number.POSITIVE_INFINITY, 60], 'square_pixels', frame)).toBeNull();
  expect(mapBox([10, 30, 60], 'square_pixels', frame)).toBeNull();
  expect(mapBox([-500, -500, 500, 500], 'square_pixels', frame)?.pixels).toEqual([0, 0, 400, 200]);
  expect(mapBox([200, 200, 300, 300], 'square_pixels', frame)).toBeNull();
});

test('a small picture is enlarged, a flat one keeps a pixel', () => {
  expect(letterboxFrame({ widthPx: 10, heightPx: 5 }, 6, 100).steps).toEqual([
    { kind: 'resize', widthPx: 50, heightPx: 100 },
    { kind: 'pad', leftPx: 25, topPx: 0, widthPx: 100, heightPx: 100 },
  ]);
  expect(letterboxFrame({ widthPx: 4000, heightPx: 10 }, 1, 100).steps[0]).toEqual({ kind: 'resize', widthPx: 100, heightPx: 1 });
});

function expectClose(found: Box, expected: Box): void {
  found.forEach((value, i) => expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-9));
}
