/** [left, top, right, bottom] in whole pixels; right and bottom exclusive. */
export type Rect = [left: number, top: number, right: number, bottom: number];
export type Point = [x: number, y: number];

export interface Size {
  widthPx: number;
  heightPx: number;
}

export function placed(x: number, y: number, { widthPx, heightPx }: Size): Rect {
  return [Math.round(x), Math.round(y), Math.round(x) + widthPx, Math.round(y) + heightPx];
}

export function grown([left, top, right, bottom]: Rect, px: number): Rect {
  return [left - px, top - px, right + px, bottom + px];
}

export function within({ widthPx, heightPx }: Size, [left, top, right, bottom]: Rect): Rect {
  return [Math.max(0, left), Math.max(0, top), Math.min(widthPx, right), Math.min(heightPx, bottom)];
}

export function areaOf([left, top, right, bottom]: Rect): number {
  return (right - left) * (bottom - top);
}

/** The area that two rectangles share. */
export function overlap(a: Rect, b: Rect): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  return width > 0 && height > 0 ? width * height : 0;
}

/** Between their edges; 0 where they touch or overlap. */
export function distance(a: Rect, b: Rect): number {
  return Math.hypot(Math.max(0, a[0] - b[2], b[0] - a[2]), Math.max(0, a[1] - b[3], b[1] - a[3]));
}

/** The point of `a` that is nearest to the middle of `b`. */
export function nearest(a: Rect, b: Rect): Point {
  return [clamp((b[0] + b[2]) / 2, a[0], a[2]), clamp((b[1] + b[3]) / 2, a[1], a[3])];
}

export function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
