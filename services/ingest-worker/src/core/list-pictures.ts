import type { SourcePlace } from '@sightline/shared/contracts/source-place';
import { isSidecar } from '@sightline/shared/ingestion/sidecars';
import type { ObjectInfo, ObjectStore } from '@sightline/shared/ports/object-store';

/** The pictures of a folder or prefix in ascending byte order of key. Errors: `source_not_found`. */
export async function* listPictures(
  store: Pick<ObjectStore, 'list'>,
  { bucket, prefix }: SourcePlace,
  options: { startAfter?: string; signal?: AbortSignal } = {},
): AsyncGenerator<ObjectInfo> {
  for await (const info of store.list({ bucket, prefix, ...options })) {
    if (!isSidecar(info.key)) yield info;
  }
}
