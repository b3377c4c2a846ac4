import type { Point } from './rects.ts';

export interface Coverage {
  left: number;
  top: number;
  widthPx: number;
  heightPx: number;
  /** Row by row, 0 to 1: the share of each pixel that lies inside. */
  values: Float32Array;
}

/**
 * How much of each pixel closed contours of straight lines cover, exactly. Contours that turn the same way join where they overlap,
 * one that turns the other way is a hole: as in TrueType outlines. Signed areas are summed along each row (Levien's font-rs).
 */
export function coverageOf(contours: Point[][]): Coverage {
  const points = contours.flat();
  if (points.length === 0) return { left: 0, top: 0, widthPx: 0, heightPx: 0, values: new Float32Array() };
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    left = Math.min(left, Math.floor(x));
    top = Math.min(top, Math.floor(y));
    right = Math.max(right, Math.ceil(x));
    bottom = Math.max(bottom, Math.ceil(y));
  }
  const [widthPx, heightPx] = [right - left, bottom - top];
  // A line on the right edge adds to the pixels beyond it.
  const stride = widthPx + 2;
  const sums = new Float32Array(stride * heightPx);
  for (const contour of contours)
    for (const [i, [x, y]] of contour.entries()) {
      const [nextX, nextY] = contour[(i + 1) % contour.length] ?? [x, y];
      addLine(sums, stride, [x - left, y - top], [nextX - left, nextY - top]);
    }
  const values = new Float32Array(widthPx * heightPx);
  for (let row = 0; row < heightPx; row++) {
    let sum = 0;
    for (let column = 0; column < widthPx; column++) {
      sum += sums[row * stride + column] ?? 0;
      values[row * widthPx + column] = Math.min(Math.abs(sum), 1);
    }
  }
  return { left, top, widthPx, heightPx, values };
}

/** Adds to each pixel of a line's rows what the line changes for it and all to its right. */
function addLine(sums: Float32Array, stride: number, from: Point, to: Point): void {
  if (from[1] === to[1]) return;
  const direction = from[1] < to[1] ? 1 : -1;
  const [[x0, y0], [x1, y1]] = direction > 0 ? [from, to] : [to, from];
  let x = x0;
  for (let row = Math.floor(y0); row < Math.ceil(y1); row++) {
    const bottom = Math.min(row + 1, y1);
    const height = bottom - Math.max(row, y0);
    // By the share of the height that is passed, at most all of it: a slope is infinite where a line is nearly level.
    const nextX = x0 + (x1 - x0) * ((bottom - y0) / (y1 - y0));
    addRow(sums, row * stride, Math.min(x, nextX), Math.max(x, nextX), direction * height);
    x = nextX;
  }
}

/** A line's part in one row, from `xa` to `xb`; `height` is signed. */
function addRow(sums: Float32Array, row: number, xa: number, xb: number, height: number): void {
  const first = Math.floor(xa);
  const last = Math.max(first, Math.ceil(xb) - 1);
  let before = 0;
  for (let column = first; column <= last; column++) {
    // The share of the line's height that is passed by this pixel's right edge, each part by how much of the pixel it leaves.
    const leftX = Math.max(xa, column);
    const rightX = Math.min(xb, column + 1);
    const share = xb > xa ? (rightX - leftX) / (xb - xa) : 1;
    const covered = share * (column + 1 - (leftX + rightX) / 2);
    const now = passed(xa, xb, column) + covered;
    add(sums, row + column, height * (now - before));
    before = now;
  }
  add(sums, row + last + 1, height * (1 - before));
}

function passed(xa: number, xb: number, x: number): number {
  return xb > xa ? Math.min(Math.max((x - xa) / (xb - xa), 0), 1) : 0;
}

function add(sums: Float32Array, index: number, value: number): void {
  sums[index] = (sums[index] ?? 0) + value;
}
