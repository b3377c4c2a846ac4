import { assetLockKey, itemLockKey, pictureAssetId } from '@sightline/shared/contracts/ids';
import type { ChunkEntry, ChunkOutcome } from '@sightline/shared/ports/ledger';
import { failureReasonFor, isOfTheObject, toSightlineError, type SightlineError } from '@sightline/shared/runtime/errors';
import type { Settled } from './encode-deps.ts';

/** A picture of a chunk, with all records in the chunk that name it. */
export interface PictureWork {
  lockKey: string;
  assetId: string;
  object: NonNullable<ChunkEntry['object']>;
  reconcile: ChunkEntry['reconcile'];
  records: NonNullable<ChunkEntry['record']>[];
  /** Of the picture's own half; null while it is owed. */
  settled: Settled | null;
  failure: Failing | null;
  /** It has to leave the index, once the items whose records it carries are held too (see settleGoings). */
  going: Going | null;
  rounds: number;
  /** When the store says that the object was written, in Unix milliseconds; null until it was looked at. */
  modifiedAt: number | null;
}

/** Why a picture leaves the index. */
export interface Going {
  reason: 'gone' | 'failed';
  /** What the tombstone remembers. */
  eTag: string | null;
  /** Of the point that was looked at: whoever wrote it since knows better. */
  imageVersion: number;
  /** How its object has to be for it to go: absent, of that eTag still, or whatever it is. */
  when: 'absent' | 'same' | 'always';
}

/** An item of a chunk: its passages, and the points that it no longer stands on. */
export interface ItemWork {
  lockKey: string;
  record: NonNullable<ChunkEntry['record']>;
  drop: boolean;
  pictures: PictureWork[];
  settled: Settled | null;
  failure: Failing | null;
}

export interface Failing {
  error: SightlineError;
  /** Of the bytes that failed. */
  eTag?: string;
}

/** A chunk's entries as units of work: one for each picture, one for each item. */
export class ChunkWork {
  readonly pictures = new Map<string, PictureWork>();
  readonly items = new Map<string, ItemWork>();
  readonly #entries: ChunkEntry[];

  constructor(tenant: string, entries: ChunkEntry[]) {
    this.#entries = entries;
    for (const { object, record, reconcile } of entries) {
      let picture: PictureWork | null = null;
      if (object) {
        const assetId = pictureAssetId(tenant, object.bucket, object.key);
        picture = this.pictures.get(assetId) ?? {
          lockKey: assetLockKey(tenant, assetId),
          assetId,
          object,
          reconcile,
          records: [],
          settled: null,
          failure: null,
          going: null,
          rounds: 0,
          modifiedAt: null,
        };
        this.pictures.set(assetId, picture);
        if (record) picture.records.push(record);
      }
      if (record) {
        const known = this.items.get(record.itemId);
        const pictures = known?.pictures ?? [];
        if (picture && !pictures.includes(picture)) pictures.push(picture);
        const lockKey = itemLockKey(tenant, record.itemId);
        const drop = reconcile === 'drop';
        this.items.set(record.itemId, { lockKey, record, drop, pictures, settled: null, failure: null });
      }
    }
  }

  /** Notes an error on everything that is still owed. */
  failTheRest(thrown: unknown): void {
    const error = toSightlineError(thrown);
    for (const work of [...this.pictures.values(), ...this.items.values()]) {
      if (work.settled === null && work.failure === null) work.failure = { error };
    }
  }

  /** The first error after which the same chunk may fare better. */
  firstRetryable(): SightlineError | null {
    for (const { failure } of [...this.pictures.values(), ...this.items.values()])
      if (failure?.error.retryable) return failure.error;
    return null;
  }

  /** The first error of each code whose details no tenant is told: for the log. */
  untold(): SightlineError[] {
    const untold = new Map<string, SightlineError>();
    for (const { failure } of [...this.pictures.values(), ...this.items.values()])
      if (failure && !isOfTheObject(failure.error.code) && !untold.has(failure.error.code))
        untold.set(failure.error.code, failure.error);
    return [...untold.values()];
  }

  /** Each entry's fate: an entry with a picture and a record fails when either does, and is indexed when either was written. */
  outcome(tenant: string): ChunkOutcome {
    const outcome: ChunkOutcome = { indexed: 0, unchanged: 0, duplicate: 0, failures: [] };
    for (const { object, record, reconcile } of this.#entries) {
      if (reconcile) continue;
      const picture = object && this.pictures.get(pictureAssetId(tenant, object.bucket, object.key));
      const item = record && this.items.get(record.itemId);
      const failing = picture?.failure ?? item?.failure;
      if (failing) {
        const { code } = failing.error;
        const key = object?.key ?? `item:${record?.itemId}`;
        outcome.failures.push({
          key,
          code,
          reason: failureReasonFor(failing.error),
          ...(failing.eTag !== undefined && { eTag: failing.eTag }),
        });
      } else {
        const settled = [picture?.settled, item?.settled];
        if (picture?.settled === 'duplicate') outcome.duplicate += 1;
        else if (settled.includes('indexed')) outcome.indexed += 1;
        else outcome.unchanged += 1;
      }
    }
    return outcome;
  }
}
