import type { ObjectInfo, ObjectRef } from '../ports/object-store.ts';

const NO_ETAG = 'none-';

/** What the store tells of an object, in a listing or in an answer's head. */
export interface S3Told {
  eTag: string | undefined;
  sizeBytes: number | undefined;
  modifiedAt: Date | undefined;
}

/** An object's state as the port has it. Whole seconds, because an answer's head has no more and a listing may. */
export function objectInfo({ bucket, key }: ObjectRef, told: S3Told): ObjectInfo {
  const sizeBytes = told.sizeBytes ?? 0;
  const modifiedAt = new Date(Math.floor((told.modifiedAt?.getTime() ?? 0) / 1_000) * 1_000);
  // A file that was laid below a gateway by hand has none: size and time stand in.
  const eTag = told.eTag ? unquoted(told.eTag) : `${NO_ETAG}${sizeBytes}-${modifiedAt.getTime()}`;
  return { bucket, key, eTag, sizeBytes, modifiedAt };
}

/** The header that holds a request to one state; nothing for a state that the store has no eTag for. */
export function ifMatchOf(eTag: string | undefined): { IfMatch?: string } {
  return eTag === undefined || eTag.startsWith(NO_ETAG) ? {} : { IfMatch: `"${eTag}"` };
}

/** eTags come quoted or not, and weak where a proxy compresses. */
function unquoted(eTag: string): string {
  return eTag.replace(/^W\//, '').replace(/^"(.*)"$/, '$1');
}
