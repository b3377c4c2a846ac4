import type { AnswerBox } from '@sightline/shared/contracts/questions';
import type { BoxFrame } from '../generator.ts';

/** [left, top, right, bottom], right and bottom exclusive. */
export type Box = AnswerBox['pixels'];

export interface Size {
  widthPx: number;
  heightPx: number;
}

/** One of the things done to an upright picture before a model sees it. */
export type PictureStep =
  | { kind: 'crop'; leftPx: number; topPx: number; widthPx: number; heightPx: number }
  | { kind: 'resize'; widthPx: number; heightPx: number }
  /** Onto a canvas of this size, its corner at left and top. */
  | { kind: 'pad'; leftPx: number; topPx: number; widthPx: number; heightPx: number };

/** The way from the picture as it is stored to what the model saw. */
export interface PictureFrame {
  /** As stored. */
  widthPx: number;
  heightPx: number;
  /** EXIF orientation, 1 to 8; the picture is turned upright by it before all steps. */
  orientation: number;
  steps: PictureStep[];
}

export type MappedBox = Pick<AnswerBox, 'pixels' | 'normalized' | 'upright'>;

/** The size that a picture has once its EXIF orientation (1 to 8) is applied. */
export function uprightSize({ widthPx, heightPx }: Size, orientation: number): Size {
  return orientation >= 5 ? { widthPx: heightPx, heightPx: widthPx } : { widthPx, heightPx };
}

/**
 * Into a square, whole, in the middle. Small pictures are enlarged to it: a vision tower cuts its square into patches of a fixed
 * size, and a small picture amid grey would be told by few of them. Sides are rounded to whole pixels and hold one at least.
 */
export function letterboxFrame(stored: Size, orientation: number, sidePx: number): PictureFrame {
  const upright = uprightSize(stored, orientation);
  const scale = sidePx / Math.max(upright.widthPx, upright.heightPx);
  const [widthPx, heightPx] = [upright.widthPx, upright.heightPx].map((side) => Math.max(1, Math.round(side * scale))) as [
    number,
    number,
  ];
  const [leftPx, topPx] = [Math.floor((sidePx - widthPx) / 2), Math.floor((sidePx - heightPx) / 2)];
  return {
    widthPx: stored.widthPx,
    heightPx: stored.heightPx,
    orientation,
    steps: [
      { kind: 'resize', widthPx, heightPx },
      { kind: 'pad', leftPx, topPx, widthPx: sidePx, heightPx: sidePx },
    ],
  };
}

/**
 * From what the model wrote to the picture as stored. `unit` and `thousand` are parts of what the model saw, the padding
 * included. Swapped corners are put right. What lies outside of what was shown is cut off. Each edge goes to the nearest whole
 * pixel, halves up in the stored picture, so that boxes which share an edge still do. Null for what is no box: not four finite
 * numbers, nothing of it within the picture, or thinner than a pixel there.
 */
export function mapBox(written: readonly number[], boxFrame: BoxFrame, frame: PictureFrame): MappedBox | null {
  if (written.length !== 4 || !written.every(Number.isFinite)) return null;
  const upright = boxFrame === 'picture_pixels' ? putRight(written) : throughSteps(putRight(written), boxFrame, frame);
  const size = uprightSize(frame, frame.orientation);
  const pixels = toStored(clamp(upright, size), size, frame.orientation).map(Math.round) as Box;
  const [left, top, right, bottom] = pixels;
  if (right - left < 1 || bottom - top < 1) return null;
  return {
    pixels,
    normalized: divide(pixels, frame),
    upright: divide(toUpright(pixels, size, frame.orientation), size),
  };
}

/**
 * The other way: a box of the stored picture as a model that writes in `boxFrame` would write it, in whole numbers (`unit`:
 * thousandths), at least one wide and high. Of what the steps cut away nothing is left; a box that lies in that alone becomes a
 * sliver at its edge.
 */
export function writeBox(pixels: Box, boxFrame: BoxFrame, frame: PictureFrame): Box {
  let size = uprightSize(frame, frame.orientation);
  let box = toUpright(pixels, size, frame.orientation);
  for (const step of boxFrame === 'picture_pixels' ? [] : frame.steps) {
    if (step.kind === 'resize') box = scale(box, step.widthPx / size.widthPx, step.heightPx / size.heightPx);
    else if (step.kind === 'crop') box = shift(box, -step.leftPx, -step.topPx);
    else box = shift(box, step.leftPx, step.topPx);
    size = { widthPx: step.widthPx, heightPx: step.heightPx };
    box = clamp(box, size);
  }
  if (boxFrame === 'unit' || boxFrame === 'thousand') {
    box = scale(box, 1_000 / size.widthPx, 1_000 / size.heightPx);
  }
  const written = (wholes: typeof nearest): Box => {
    const [[left, right], [top, bottom]] = [wholes(box[0], box[2]), wholes(box[1], box[3])];
    return boxFrame === 'unit' ? ([left, top, right, bottom].map((n) => n / 1_000) as Box) : [left, top, right, bottom];
  };
  const isRead = (numbers: Box): boolean => mapBox(numbers, boxFrame, frame) !== null;
  // The nearest numbers of a box no thicker than one may lie half beside it, where it would be lost when it is read.
  return [written(nearest), written(outward)].find(isRead) ?? written(nearest);
}

/**
 * To the nearest whole numbers; one that is thinner than that is widened to the side that it lies on, which is within what was
 * shown.
 */
function nearest(from: number, to: number): [number, number] {
  const [low, high] = [Math.round(from), Math.round(to)];
  if (high > low) return [low, high];
  return (from + to) / 2 < low ? [low - 1, low] : [low, low + 1];
}

/** To the whole numbers around. */
function outward(from: number, to: number): [number, number] {
  return [Math.floor(from), Math.ceil(to)];
}

/** Back from the model's canvas to the upright picture. */
function throughSteps(written: Box, boxFrame: BoxFrame, frame: PictureFrame): Box {
  const sizes = [uprightSize(frame, frame.orientation)];
  for (const step of frame.steps) sizes.push({ widthPx: step.widthPx, heightPx: step.heightPx });
  const canvas = sizes.at(-1)!;
  const unit = boxFrame === 'unit' ? 1 : boxFrame === 'thousand' ? 1000 : null;
  let box: Box = unit === null ? written : scale(written, canvas.widthPx / unit, canvas.heightPx / unit);
  for (let i = frame.steps.length - 1; i >= 0; i--) {
    const [step, before, after] = [frame.steps[i]!, sizes[i]!, sizes[i + 1]!];
    box = clamp(box, after);
    if (step.kind === 'resize') box = scale(box, before.widthPx / after.widthPx, before.heightPx / after.heightPx);
    else if (step.kind === 'crop') box = shift(box, step.leftPx, step.topPx);
    else box = shift(box, -step.leftPx, -step.topPx);
  }
  return box;
}

/** EXIF's eight: 5 to 8 swap the axes, then 2, 3, 6, 7 mirror left and right, and 3, 4, 7, 8 above and below. */
const swapsAxes = (orientation: number) => orientation >= 5;
const mirrorsX = (orientation: number) => [2, 3, 6, 7].includes(orientation);
const mirrorsY = (orientation: number) => [3, 4, 7, 8].includes(orientation);

function toUpright(box: Box, upright: Size, orientation: number): Box {
  return mirror(swapsAxes(orientation) ? swap(box) : box, upright, orientation);
}

function toStored(box: Box, upright: Size, orientation: number): Box {
  const mirrored = mirror(box, upright, orientation);
  return swapsAxes(orientation) ? swap(mirrored) : mirrored;
}

function mirror([left, top, right, bottom]: Box, { widthPx, heightPx }: Size, orientation: number): Box {
  const [x1, x2] = mirrorsX(orientation) ? [widthPx - right, widthPx - left] : [left, right];
  const [y1, y2] = mirrorsY(orientation) ? [heightPx - bottom, heightPx - top] : [top, bottom];
  return [x1, y1, x2, y2];
}

const swap = ([left, top, right, bottom]: Box): Box => [top, left, bottom, right];
const shift = ([left, top, right, bottom]: Box, x: number, y: number): Box => [left + x, top + y, right + x, bottom + y];
const scale = ([left, top, right, bottom]: Box, x: number, y: number): Box => [left * x, top * y, right * x, bottom * y];
const divide = ([left, top, right, bottom]: Box, { widthPx, heightPx }: Size): Box => [
  left / widthPx,
  top / heightPx,
  right / widthPx,
  bottom / heightPx,
];

function putRight([a = 0, b = 0, c = 0, d = 0]: readonly number[]): Box {
  return [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];
}

function clamp([left, top, right, bottom]: Box, { widthPx, heightPx }: Size): Box {
  const into = (value: number, most: number) => Math.min(most, Math.max(0, value));
  return [into(left, widthPx), into(top, heightPx), into(right, widthPx), into(bottom, heightPx)];
}
