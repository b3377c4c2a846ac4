import type { ErrorCode } from '@sightline/shared/runtime/errors';
import type { ItemRecord, PointRecord } from '@sightline/shared/contracts/records';

export interface ExpectedPicture {
  assetId: string;
  bucket: string;
  key: string;
  /** Null when a manifest names it and the store does not have it, or nobody looked. */
  eTag: string | null;
}

/** An item as its latest manifest has it. */
export type ExpectedItem = ItemRecord;

/**
 * What the sources say that the index should hold, and what a scan has seen of it. On disk: memory does not grow with the
 * catalogue. One tenant's.
 */
export interface ExpectedSet {
  addPicture: (picture: ExpectedPicture) => void;
  /** Of two sources that name an item the one of the higher rank speaks for it; each source's pictures stay expected. */
  addItem: (item: ExpectedItem, pictures: ExpectedPicture[], rank: number) => void;
  /** A pushed record as a point of the index has it: nowhere else is it written down. Where points differ the newest counts. */
  addPushed: (record: PointRecord, passageNo: number, recordVersion: number) => void;
  /** Makes items of what was pushed. They speak for themselves, whatever manifests name them: they came after those. */
  expectPushed: (tenant: string) => void;
  /** A user removed the item: it is not expected any more, its pictures are. */
  dropItem: (itemId: string) => void;
  addFailure: (failure: { bucket: string; key: string; eTag: string | null; code: ErrorCode }) => void;

  picture: (assetId: string) => ExpectedPicture | null;
  item: (itemId: string) => ExpectedItem | null;
  /** The items whose record a picture should carry, ordered by id. */
  itemsOfPicture: (assetId: string) => ExpectedItem[];
  /** The failure of the object's bytes `eTag`, or of an object that is not there (null). */
  failure: (bucket: string, key: string, eTag: string | null) => ErrorCode | null;
  /** Any failure of that key. */
  anyFailure: (key: string) => ErrorCode | null;
  /** Pictures under a prefix that only manifests name, in ascending order of key: nobody has looked at their objects. */
  unlisted: (within: { bucket: string; prefix: string }, after: string, limit: number) => ExpectedPicture[];
  countUnlisted: (within: { bucket: string; prefix: string }) => number;
  /** Where pictures that nobody has looked at lie. */
  unlistedBuckets: () => string[];

  /** What the scan found: `live` can be shown, `removed` was taken off by a user, `down` is neither. */
  markSeen: (assetId: string, state: 'live' | 'removed' | 'down') => void;
  addPassage: (passage: { assetId: string; itemId: string; passageNo: number; text: string }) => void;
  /** A passage that a user took off. */
  addRemovedPassage: (assetId: string) => void;
  isRemovedPassage: (assetId: string) => boolean;
  /** The text of passage 0 as a picture carries it. */
  addFirstPassage: (itemId: string, text: string) => void;
  /** In ascending order of asset id: expected, in the store, not seen. */
  unseen: (after: string, limit: number) => ExpectedPicture[];
  /** In ascending order of item id; dropping items of a page does not upset the next. */
  items: (after: string, limit: number) => SeenItem[];

  /** A point, or an item, of which only sources that were not read can say whether it is right. */
  addDoubt: (doubt: { assetId: string | null; itemIds: string[] }) => void;
  isDoubtful: (itemId: string) => boolean;
  /** In ascending order of asset id. */
  doubtfulPoints: (after: string, limit: number) => string[];
  /** Those that are expected, in ascending order of item id. */
  doubtfulItems: (after: string, limit: number) => SeenItem[];
  close: () => void;
}

/** An item with what the scan found of it. */
export interface SeenItem {
  item: ExpectedItem;
  livePictures: number;
  removedPictures: number;
  /** Ordered by number; number 0 also from a picture. */
  passages: { passageNo: number; text: string }[];
}
