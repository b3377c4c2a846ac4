import { z } from 'zod';
import type { Colour, PreprocessingPlan, Size } from './preprocessing.ts';

export const multiScale = z.strictObject({
  /** Edge lengths in pixels; the network's own input size belongs among them. */
  scales: z.array(z.int().min(16).max(2048)).min(1).max(4),
  fuse: z.enum(['mean', 'concat']),
  /** The graph takes other input sizes than its own and interpolates its position embeddings. */
  interpolates_positions: z.boolean().default(false),
});
export type MultiScale = z.infer<typeof multiScale>;

/**
 * One way of looking at a picture: resized to `resized`, laid on a canvas of `canvas` filled with `fill`, with the resized
 * picture's pixel (sourceLeft, sourceTop) at (left, top). The canvas is then cut into `tiles` of the network's input size.
 */
export interface PictureView {
  resized: Size;
  canvas: Size;
  fill: Colour;
  /** The part of the resized picture that is seen. */
  source: { leftPx: number; topPx: number } & Size;
  /** Where that part lies on the canvas. */
  leftPx: number;
  topPx: number;
}

/** Where the network's inputs are cut from each view's canvas. The same for every picture of a pack. */
export interface ViewLayout {
  /** How much larger than the network's input this view is: 1 for a pack without multi-scale. */
  factor: number;
  canvas: Size;
  tile: Size;
  tiles: { leftPx: number; topPx: number }[];
}

/**
 * The views of a pack. Without multi-scale there is one, of one tile. With scales [224, 336, 448] and an input of 224 there
 * are three; a larger one is covered by evenly spaced, overlapping tiles (1, 4 and 4), or taken whole where the pack
 * declares that its graph interpolates its positions.
 */
export function viewLayouts(plan: PreprocessingPlan, multiScale: MultiScale | null): ViewLayout[] {
  if (!multiScale) return [{ factor: 1, canvas: plan.input, tile: plan.input, tiles: [{ leftPx: 0, topPx: 0 }] }];
  return multiScale.scales.map((scalePx) => {
    const factor = scalePx / plan.input.heightPx;
    const canvas = { widthPx: Math.round(plan.input.widthPx * factor), heightPx: scalePx };
    if (multiScale.interpolates_positions) return { factor, canvas, tile: canvas, tiles: [{ leftPx: 0, topPx: 0 }] };
    const [lefts, tops] = [offsets(canvas.widthPx, plan.input.widthPx), offsets(canvas.heightPx, plan.input.heightPx)];
    return { factor, canvas, tile: plan.input, tiles: tops.flatMap((topPx) => lefts.map((leftPx) => ({ leftPx, topPx }))) };
  });
}

function offsets(lengthPx: number, tilePx: number): number[] {
  const count = Math.ceil(lengthPx / tilePx);
  return Array.from({ length: count }, (_, n) => (count === 1 ? 0 : Math.round((n * (lengthPx - tilePx)) / (count - 1))));
}

/**
 * The geometry of one picture (already padded to a square, where the plan says so) under a plan enlarged by `factor`. Rounding follows transformers to the pixel:
 * `get_resize_output_image_size` truncates the long side, `center_crop` floors the margin and pads with black, rounded up.
 */
export function pictureView(plan: PreprocessingPlan, picture: Size, factor = 1): PictureView {
  const scaled = (size: Size): Size => ({
    widthPx: Math.round(size.widthPx * factor),
    heightPx: Math.round(size.heightPx * factor),
  });
  const outer = resizedSize(plan, picture, factor);
  const black: Colour = [0, 0, 0];
  let canvas = outer;
  let [left, top] = [0, 0];
  let fill = black;
  if (plan.crop) {
    const crop = scaled(plan.crop);
    left -= cropMargin(outer.widthPx, crop.widthPx);
    top -= cropMargin(outer.heightPx, crop.heightPx);
    canvas = crop;
  }
  if (plan.pad) {
    const size = scaled(plan.pad.size);
    if (plan.pad.position === 'center') {
      left += Math.floor((size.widthPx - canvas.widthPx) / 2);
      top += Math.floor((size.heightPx - canvas.heightPx) / 2);
    }
    canvas = size;
    fill = plan.pad.colour;
  }
  const [leftPx, topPx] = [Math.max(0, left), Math.max(0, top)];
  const source = { leftPx: Math.max(0, -left), topPx: Math.max(0, -top), widthPx: 0, heightPx: 0 };
  source.widthPx = Math.min(outer.widthPx - source.leftPx, canvas.widthPx - leftPx);
  source.heightPx = Math.min(outer.heightPx - source.topPx, canvas.heightPx - topPx);
  return { resized: outer, canvas, fill, source, leftPx, topPx };
}

function resizedSize(plan: PreprocessingPlan, { widthPx, heightPx }: Size, factor: number): Size {
  if (!plan.resize) return { widthPx, heightPx };
  if (plan.resize.rule === 'exact')
    return { widthPx: Math.round(plan.resize.size.widthPx * factor), heightPx: Math.round(plan.resize.size.heightPx * factor) };
  if (plan.resize.rule === 'shortest') {
    const edge = Math.round(plan.resize.edge * factor);
    const long = Math.trunc((edge * Math.max(widthPx, heightPx)) / Math.min(widthPx, heightPx));
    return widthPx <= heightPx ? { widthPx: edge, heightPx: long } : { widthPx: long, heightPx: edge };
  }
  const ratio = Math.min((plan.resize.size.heightPx * factor) / heightPx, (plan.resize.size.widthPx * factor) / widthPx);
  return { widthPx: Math.max(1, Math.trunc(widthPx * ratio)), heightPx: Math.max(1, Math.trunc(heightPx * ratio)) };
}

/** Positive: that much is cut off at the near side. Negative: that much is padded there. */
function cropMargin(lengthPx: number, cropPx: number): number {
  return lengthPx >= cropPx ? Math.floor((lengthPx - cropPx) / 2) : -Math.ceil((cropPx - lengthPx) / 2);
}
