import type { Source } from './records.ts';

/** Where a source lies in the object store. */
export interface SourcePlace {
  bucket: string;
  /** Keys of the source's pictures begin so; a manifest's are relative to it. Empty or ending in a slash, but for prefixes. */
  prefix: string;
  /** Key of the manifest; null where the pictures themselves are the source. */
  manifestKey: string | null;
}

/**
 * The place of a source, in one spelling each (a path without trailing slash, `.` or `..`; a manifest's `s3://bucket/key` as
 * it is), because asset ids are made from it. Null for a directory or manifest whose path is not absolute, and for an s3 address
 * without bucket or key.
 */
export function sourcePlace(source: Source): SourcePlace | null {
  switch (source.type) {
    case 'directory': {
      const path = absolutePath(source.path);
      return path === null ? null : { bucket: path, prefix: '', manifestKey: null };
    }
    case 'manifest': {
      if (source.uri.startsWith('s3://')) return storedManifest(source.uri);
      const path = absolutePath(source.uri.startsWith('file://') ? decodeFileUri(source.uri) : source.uri);
      if (path === null || path === '/') return null;
      const cut = path.lastIndexOf('/');
      return { bucket: path.slice(0, cut) || '/', prefix: '', manifestKey: path.slice(cut + 1) };
    }
    case 'prefix':
      return { bucket: source.bucket, prefix: source.prefix, manifestKey: null };
  }
}

/** Tells sources apart: two ingestions of one source have the same key. */
export function sourceKey(source: Source): string {
  const place = sourcePlace(source);
  return JSON.stringify(place ? [place.bucket, place.prefix, place.manifestKey] : source);
}

/** Everything that a source can name lies under this; a manifest's pictures lie in its folder. */
export type Region = Pick<SourcePlace, 'bucket' | 'prefix'>;

/** Whether two sources can name the same object. */
export function overlaps(a: Region, b: Region): boolean {
  return a.bucket === b.bucket && (a.prefix.startsWith(b.prefix) || b.prefix.startsWith(a.prefix));
}

/** Whether an object lies in a region. */
export function contains({ bucket, prefix }: Region, object: { bucket: string; key: string }): boolean {
  return object.bucket === bucket && object.key.startsWith(prefix);
}

/** `s3://bucket/folder/manifest.jsonl`: keys of S3 have no `.` or `..`, and nothing in them is escaped. */
function storedManifest(uri: string): SourcePlace | null {
  const [, bucket = '', key = ''] = /^s3:\/\/([^/]*)\/?(.*)$/s.exec(uri) ?? [];
  if (bucket === '' || key === '' || key.endsWith('/')) return null;
  return { bucket, prefix: key.slice(0, key.lastIndexOf('/') + 1), manifestKey: key };
}

function absolutePath(path: string): string | null {
  if (!path.startsWith('/')) return null;
  const segments: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  return `/${segments.join('/')}`;
}

function decodeFileUri(uri: string): string {
  try {
    return decodeURIComponent(uri.slice('file://'.length));
  } catch {
    return uri.slice('file://'.length);
  }
}
