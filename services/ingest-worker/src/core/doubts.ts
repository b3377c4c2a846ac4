/** A point that differed: of a picture with the object, and the eTag that its source had. */
export interface DoubtedPoint {
  assetId: string;
  object: { bucket: string; key: string } | null;
  seenETag: string | null;
}

/** What an audit looks at again: points and items that differed. On disk, each once. */
export interface Doubts {
  addPoint: (point: DoubtedPoint) => void;
  addItem: (itemId: string) => void;
  point: (assetId: string) => DoubtedPoint | null;
  hasItem: (itemId: string) => boolean;
  /** In ascending order of asset id. */
  points: (after: string, limit: number) => DoubtedPoint[];
  /** In ascending order of item id. */
  items: (after: string, limit: number) => string[];
  count: () => number;
  close: () => void;
}
