import { areaOf, clamp, distance, nearest, overlap, placed, type Point, type Rect, type Size } from './rects.ts';

/** What of a drawn box a plate keeps off: `outer` is the frame's edge, `inner` what it surrounds. */
export interface Frame {
  outer: Rect;
  inner: Rect;
}

export interface Place {
  rect: Rect;
  /** Where the plate does not touch its box: a line from the plate to it. */
  leader: { from: Point; to: Point } | null;
}

/**
 * A place on the canvas for each plate, `null` where the plate is larger than the canvas. At its box and outside of it where there
 * is room, else inside; over no other plate, and over as little of other boxes as can be; where the box's surroundings are taken,
 * the nearest free place, with a line to the box. Plates overlap only where nothing is free.
 */
export function placePlates(canvas: Size, frames: Frame[], plates: Size[]): (Place | null)[] {
  const places = plates.map((): Place | null => null);
  const taken: Rect[] = [];
  // The smallest boxes have the fewest places to choose from.
  const order = plates.map((_, index) => index).sort((a, b) => areaAt(frames, a) - areaAt(frames, b));
  for (const index of order) {
    const frame = frames[index];
    const plate = plates[index];
    if (!frame || !plate || plate.widthPx > canvas.widthPx || plate.heightPx > canvas.heightPx) continue;
    const hidden = (rect: Rect) =>
      frames.reduce((sum, other) => sum + hiddenOf(other, rect, other !== frame && holds(other, frame)), 0);
    const isFree = (rect: Rect) => taken.every((other) => overlap(rect, other) === 0);
    const beside = besideBox(canvas, frame, plate);
    const rect = least(beside.filter(isFree), hidden);
    const place = rect
      ? { rect, leader: null }
      : (elsewhere(canvas, frame, plate, isFree, hidden) ?? {
          rect: least(beside, (rect) => taken.reduce((sum, other) => sum + overlap(rect, other), 0)) ?? placed(0, 0, plate),
          leader: null,
        });
    places[index] = place;
    taken.push(place.rect);
  }
  return places;
}

/** Places that touch the box, the better ones first: above, below, at its sides, along its edges, inside. */
function besideBox(canvas: Size, { outer, inner }: Frame, plate: Size): Rect[] {
  const [left, top, right, bottom] = outer;
  const { widthPx: w, heightPx: h } = plate;
  const [above, below, before, after] = [top - h, bottom, left - w, right];
  const corners: [x: number, y: number][] = [
    [left, above],
    [left, below],
    [right - w, above],
    [right - w, below],
    [after, top],
    [after, bottom - h],
    [before, top],
    [before, bottom - h],
  ];
  for (let x = left - w + h; x < right; x += Math.max(8, (right - left + w) / 12)) corners.push([x, above], [x, below]);
  for (let y = top - h + 4; y < bottom; y += Math.max(8, (bottom - top + h) / 12)) corners.push([after, y], [before, y]);
  corners.push([inner[0], inner[1]], [inner[2] - w, inner[1]], [inner[0], inner[3] - h], [inner[2] - w, inner[3] - h]);
  for (let y = inner[1]; y < inner[3]; y += h) corners.push([inner[0], y], [inner[2] - w, y]);
  const seen = new Set<string>();
  return corners
    .map(([x, y]) => placed(clamp(x, 0, canvas.widthPx - w), clamp(y, 0, canvas.heightPx - h), plate))
    .filter((rect) => {
      const isNew = !seen.has(rect.join());
      seen.add(rect.join());
      return isNew && distance(rect, outer) === 0;
    });
}

/** The nearest free place on a grid over the canvas that hides little of what is boxed. */
function elsewhere(
  canvas: Size,
  { outer }: Frame,
  plate: Size,
  isFree: (rect: Rect) => boolean,
  hidden: (rect: Rect) => number,
): Place | null {
  const free: Rect[] = [];
  const stepPx = plate.heightPx / 2;
  const [maxX, maxY] = [canvas.widthPx - plate.widthPx, canvas.heightPx - plate.heightPx];
  for (let y = 0; y < maxY + stepPx; y += stepPx)
    for (let x = 0; x < maxX + stepPx; x += stepPx) {
      const rect = placed(clamp(x, 0, maxX), clamp(y, 0, maxY), plate);
      if (isFree(rect)) free.push(rect);
    }
  const long = Math.max(canvas.widthPx, canvas.heightPx);
  const area = plate.widthPx * plate.heightPx;
  const rect = least(free, (rect) => distance(rect, outer) / long + hidden(rect) / area);
  if (!rect) return null;
  return { rect, leader: distance(rect, outer) > 0 ? { from: nearest(rect, outer), to: nearest(outer, rect) } : null };
}

/** How bad it is to lie over a box: its frame is worse to hide than what it surrounds, least what surrounds this box as well. */
function hiddenOf({ outer, inner }: Frame, rect: Rect, isAround: boolean): number {
  const inside = overlap(rect, inner);
  return 4 * (overlap(rect, outer) - inside) + (isAround ? 0.1 : 1) * inside;
}

function holds({ inner }: Frame, { outer }: Frame): boolean {
  return overlap(inner, outer) === areaOf(outer);
}

function least(rects: Rect[], cost: (rect: Rect) => number): Rect | undefined {
  let best: { rect: Rect; cost: number } | undefined;
  for (const rect of rects) {
    const its = cost(rect);
    if (!best || its < best.cost) best = { rect, cost: its };
  }
  return best?.rect;
}

function areaAt(frames: Frame[], index: number): number {
  const frame = frames[index];
  return frame ? areaOf(frame.outer) : 0;
}
