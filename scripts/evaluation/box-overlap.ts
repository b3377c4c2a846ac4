/** [left, top, right, bottom], right and bottom exclusive, all boxes of a comparison in one frame. */
export type Box = readonly [left: number, top: number, right: number, bottom: number];

/** Of PASCAL VOC. */
export const SAME_BOX_IOU = 0.5;

/** Intersection over union, 0 to 1; 0 where both are empty. */
export function iou(a: Box, b: Box): number {
  const overlap = areaOf([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
  const union = areaOf(a) + areaOf(b) - overlap;
  return union === 0 ? 0 : overlap / union;
}

/**
 * Pairs each expected box with at most one given box and each given box with at most one expected one, greedily, the largest overlap first
 * (Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 88, 2010, section 4.2, without confidences).
 * Answers the overlap that each expected box was paired with, in its order; 0 where none is left that touches it.
 */
export function pairBoxes(expected: readonly Box[], given: readonly Box[]): number[] {
  const pairs = expected
    .flatMap((box, e) => given.map((other, g) => ({ e, g, overlap: iou(box, other) })))
    .filter(({ overlap }) => overlap > 0)
    .sort((a, b) => b.overlap - a.overlap || a.e - b.e || a.g - b.g);
  const overlaps = expected.map(() => 0);
  const [takenE, takenG] = [new Set<number>(), new Set<number>()];
  for (const { e, g, overlap } of pairs) {
    if (takenE.has(e) || takenG.has(g)) continue;
    takenE.add(e);
    takenG.add(g);
    overlaps[e] = overlap;
  }
  return overlaps;
}

function areaOf([left, top, right, bottom]: Box): number {
  return Math.max(0, right - left) * Math.max(0, bottom - top);
}
