import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { coverageOf } from './outline-coverage.ts';
import type { Point } from './rects.ts';

const coordinate = fc.double({ min: -20, max: 40, noNaN: true });
const point = fc.tuple(coordinate, coordinate);

test('a triangle covers its area, whatever its place and turn', () => {
  fc.assert(
    fc.property(fc.tuple(point, point, point), (corners) => {
      const [[ax, ay], [bx, by], [cx, cy]] = corners;
      const area = Math.abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2;
      const sum = coverageOf([corners]).values.reduce((sum, value) => sum + value, 0);
      expect(Math.abs(sum - area)).toBeLessThan(0.01 + area * 1e-4);
    }),
  );
});

test('a line that is level but for the last bit of a number ends', () => {
  const { widthPx, values } = coverageOf([
    [
      [0, 0],
      [10, Number.MIN_VALUE],
      [10, 1],
    ],
  ]);
  expect(widthPx).toBe(10);
  expect(values.reduce((sum, value) => sum + value, 0)).toBeCloseTo(5);
});

test('a rectangle covers each pixel by the part that lies in it', () => {
  const { left, top, widthPx, values } = coverageOf([rectangle(1.25, 2.5, 3.5, 4)]);
  expect({ left, top, widthPx }).toEqual({ left: 1, top: 2, widthPx: 3 });
  expect([...values]).toEqual([0.375, 0.5, 0.25, 0.75, 1, 0.5]);
});

test('contours of one turn join where they overlap; one of the other turn is a hole', () => {
  const joined = coverageOf([rectangle(0, 0, 4, 4), rectangle(2, 0, 6, 4)]);
  expect([...joined.values]).toEqual(Array.from({ length: 24 }, () => 1));
  const hole = coverageOf([rectangle(0, 0, 4, 4), rectangle(1, 1, 3, 3).toReversed()]);
  expect(hole.values.reduce((sum, value) => sum + value, 0)).toBe(12);
});

test('a star covers each pixel by the share of its points that lie inside', () => {
  const star: Point[] = Array.from({ length: 10 }, (_, i) => {
    const [angle, radius] = [(i * Math.PI) / 5, i % 2 ? 7.3 : 18.6];
    return [20.3 + radius * Math.sin(angle), 19.8 - radius * Math.cos(angle)];
  });
  const { left, top, widthPx, heightPx, values } = coverageOf([star]);
  const grid = 12;
  const differences = [...values].map((value, at) => {
    const [x, y] = [left + (at % widthPx), top + Math.floor(at / widthPx)];
    let inside = 0;
    for (let i = 0; i < grid * grid; i++)
      if (isInside(star, x + ((i % grid) + 0.5) / grid, y + (Math.floor(i / grid) + 0.5) / grid)) inside++;
    return Math.abs(value - inside / grid ** 2);
  });
  expect(differences).toHaveLength(widthPx * heightPx);
  expect(Math.max(...differences)).toBeLessThan(0.07);
  expect(coverageOf([]).values).toHaveLength(0);
});

/** By how often a ray to the right crosses the outline. */
function isInside(outline: Point[], x: number, y: number): boolean {
  let crossings = 0;
  for (let i = 0; i < outline.length; i++) {
    const [[x0, y0], [x1, y1]] = [outline[i]!, outline[(i + 1) % outline.length]!];
    if (y0 > y !== y1 > y && x < x0 + ((y - y0) / (y1 - y0)) * (x1 - x0)) crossings++;
  }
  return crossings % 2 === 1;
}

function rectangle(left: number, top: number, right: number, bottom: number): Point[] {
  return [
    [left, top],
    [right, top],
    [right, bottom],
    [left, bottom],
  ];
}
