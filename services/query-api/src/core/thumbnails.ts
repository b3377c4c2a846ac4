import { SYSTEM_BUCKET, thumbnailKey } from '@sightline/shared/contracts/ids';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { Gate } from './gate.ts';

/** The sizes that are made; a request gets the next larger one, so that what is stored stays bounded. */
const WIDTHS_PX = [96, 192, 384, 768, 1536];
const MAX_THUMBNAIL_BYTES = 8 * 1024 * 1024;

export interface ThumbnailDeps {
  index: VectorIndex;
  store: ObjectStore;
  /** WebP bytes, upright, at most `widthPx` wide and high. */
  make: (bytes: Uint8Array, widthPx: number) => Promise<Buffer>;
  gate: Gate;
  maxPictureBytes: number;
}

interface Picture {
  tenant: string;
  assetId: string;
  bucket: string;
  key: string;
  eTag: string;
}

/** Thumbnails of indexed pictures, kept in the object store under the asset and the eTag they were made from. */
export class Thumbnails {
  readonly #deps: ThumbnailDeps;
  readonly #making = new Map<string, Promise<Buffer>>();

  constructor(deps: ThumbnailDeps) {
    this.#deps = deps;
  }

  /** `tag` names this very picture at this size. Errors: `asset_not_found`, `object_not_found`, the picture_* codes, `overloaded`. */
  async find(tenant: string, assetId: string, wantedPx: number): Promise<{ tag: string; read: () => Promise<Buffer> }> {
    const point = (await this.#deps.index.get(tenant, [assetId])).get(assetId);
    if (!point || point.deleted || !point.object || point.kind !== 'picture') throw new SightlineError('asset_not_found');
    const widthPx = WIDTHS_PX.find((width) => width >= wantedPx) ?? WIDTHS_PX.at(-1) ?? wantedPx;
    const { bucket, key, eTag } = point.object;
    const head = eTag === null ? await this.#deps.store.head({ bucket, key }) : { eTag };
    if (!head) throw new SightlineError('object_not_found');
    const place = thumbnailKey(tenant, assetId, head.eTag, widthPx);
    return { tag: place, read: () => this.#read({ tenant, assetId, bucket, key, eTag: head.eTag }, place, widthPx) };
  }

  async #read(picture: Picture, place: string, widthPx: number): Promise<Buffer> {
    const stored = await this.#stored(place);
    if (stored) return stored;
    const running = this.#making.get(place);
    if (running) return running;
    const making = this.#deps.gate.run(() => this.#make(picture, place, widthPx)).finally(() => this.#making.delete(place));
    this.#making.set(place, making);
    return making;
  }

  async #stored(place: string): Promise<Buffer | null> {
    try {
      return (await this.#deps.store.get({ bucket: SYSTEM_BUCKET, key: place }, { maxBytes: MAX_THUMBNAIL_BYTES })).bytes;
    } catch (error) {
      // `source_not_found`: nothing was ever stored, so the system bucket is not there yet.
      if (error instanceof SightlineError && (error.code === 'object_not_found' || error.code === 'source_not_found'))
        return null;
      throw error;
    }
  }

  async #make({ tenant, assetId, bucket, key, eTag }: Picture, place: string, widthPx: number): Promise<Buffer> {
    const { index, store, make, maxPictureBytes } = this.#deps;
    const { info, bytes } = await store.get({ bucket, key }, { maxBytes: maxPictureBytes });
    const thumbnail = await make(bytes, widthPx);
    // The picture may be newer than the index: then it is shown, but not kept under the older one's name.
    if (info.eTag !== eTag) return thumbnail;
    await store.put({ bucket: SYSTEM_BUCKET, key: place }, thumbnail, { contentType: 'image/webp' });
    // The asset may have been removed meanwhile, after its thumbnails were.
    const point = (await index.get(tenant, [assetId])).get(assetId);
    if (!point || point.deleted) {
      await store.delete({ bucket: SYSTEM_BUCKET, key: place });
      throw new SightlineError('asset_not_found');
    }
    return thumbnail;
  }
}
