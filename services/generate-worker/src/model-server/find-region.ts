import sharp from 'sharp';

const GRID = 96;
const FRAME = 1_000;
/** A region covers at least and at most such a share of the picture. */
const LEAST_SHARE = 0.001;
const MOST_SHARE = 0.4;
/** A line or an edge is no region. */
const MOST_ASPECT = 6;

/**
 * The region of a picture that differs most from the rest of it: what is connected and far from the commonest colours, compact rather than long.
 * In thousandths of width and height, [left, top, right, bottom]; null where nothing stands out.
 */
export async function findRegion(picture: Buffer): Promise<[number, number, number, number] | null> {
  const { data } = await sharp(picture, { limitInputPixels: 4_000_000 })
    .flatten({ background: 'white' })
    .toColourspace('srgb')
    .resize(GRID, GRID, { fit: 'fill' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  const distance = rarity(data);
  const padding = paddingOf(data);
  for (const cell of padding) distance[cell] = 0;
  const threshold = [...distance].sort((a, b) => a - b)[Math.floor(distance.length * 0.9)] ?? 0;
  const seen = new Uint8Array(GRID * GRID);
  let best: { score: number; box: [number, number, number, number] } | null = null;
  for (let start = 0; start < seen.length; start++) {
    if (seen[start] || (distance[start] ?? 0) <= threshold) continue;
    const { cells, box } = connected(start, seen, (cell) => (distance[cell] ?? 0) > threshold);
    const share = cells.length / seen.length;
    if (share < LEAST_SHARE || share > MOST_SHARE) continue;
    const [left, top, right, bottom] = box;
    const [width, height] = [right - left, bottom - top];
    if (Math.max(width, height) > MOST_ASPECT * Math.min(width, height)) continue;
    const compact = cells.length / (width * height);
    const score = compact * cells.reduce((sum, cell) => sum + (distance[cell] ?? 0), 0);
    if (!best || score > best.score) best = { score, box };
  }
  if (!best) return null;
  const [left, top, right, bottom] = best.box;
  const scaled = (value: number): number => Math.round((value / GRID) * FRAME);
  return [scaled(left), scaled(top), scaled(right), scaled(bottom)];
}

/** The letterbox's grey, and the cells beside it, where the two blend. */
function paddingOf(rgb: Buffer): Set<number> {
  const isGrey = (cell: number): boolean => [0, 1, 2].every((channel) => Math.abs((rgb[cell * 3 + channel] ?? 0) - 127) <= 2);
  const cells = new Set<number>();
  for (let cell = 0; cell < GRID * GRID; cell++) {
    if (!isGrey(cell)) continue;
    for (const beside of [
      cell,
      cell - 1,
      cell + 1,
      cell - 2,
      cell + 2,
      cell - GRID,
      cell + GRID,
      cell - 2 * GRID,
      cell + 2 * GRID,
    ])
      cells.add(beside);
  }
  return cells;
}

/** Of each cell how rare its colour is in the picture: minus the logarithm of its share among colours of three bits a channel. */
function rarity(rgb: Buffer): Float64Array {
  const colours = new Map<number, number>();
  const of = (cell: number): number =>
    ((rgb[cell * 3] ?? 0) >> 5) * 64 + ((rgb[cell * 3 + 1] ?? 0) >> 5) * 8 + ((rgb[cell * 3 + 2] ?? 0) >> 5);
  const cells = GRID * GRID;
  for (let cell = 0; cell < cells; cell++) colours.set(of(cell), (colours.get(of(cell)) ?? 0) + 1);
  return Float64Array.from({ length: cells }, (_, cell) => -Math.log((colours.get(of(cell)) ?? 1) / cells));
}

function connected(start: number, seen: Uint8Array, belongs: (cell: number) => boolean) {
  const cells: number[] = [];
  const open = [start];
  seen[start] = 1;
  const box: [number, number, number, number] = [GRID, GRID, 0, 0];
  for (let cell = open.pop(); cell !== undefined; cell = open.pop()) {
    cells.push(cell);
    const [x, y] = [cell % GRID, Math.floor(cell / GRID)];
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x + 1);
    box[3] = Math.max(box[3], y + 1);
    for (const [nextX, nextY] of [
      [x - 1, y],
      [x + 1, y],
      [x, y - 1],
      [x, y + 1],
    ] as const) {
      const next = nextY * GRID + nextX;
      if (nextX < 0 || nextY < 0 || nextX >= GRID || nextY >= GRID || seen[next] || !belongs(next)) continue;
      seen[next] = 1;
      open.push(next);
    }
  }
  return { cells, box };
}
