import type { ItemRecord, ManifestLine } from '@sightline/shared/contracts/records';
import { manifestLine } from '@sightline/shared/contracts/records';
import type { SourcePlace } from '@sightline/shared/contracts/source-place';
import type { ChunkOutcome } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { readLines, type Line } from './manifest-lines.ts';

/** Text of 200,000 characters, a hundred keys and all attributes fit. */
export const MAX_LINE_BYTES = 4 * 1024 * 1024;

/** One line, read. */
export interface ManifestRecord {
  lineNo: number;
  offset: number;
  nextOffset: number;
  /** Null when the line is no record. */
  record: ItemRecord | null;
  /** The line's own faults and its keys that lead out. */
  failures: ChunkOutcome['failures'];
}

export interface ManifestCursor {
  offset: number;
  /** Of the line at `offset`, from 1. */
  lineNo: number;
}

/**
 * The manifest's records from a cursor on, blank lines left out. A bad line is a failure and the reading goes on.
 * Answers the manifest's eTag; the reading throws `object_changed` when the manifest changes under it.
 */
export async function readManifest(
  store: Pick<ObjectStore, 'stream'>,
  place: SourcePlace,
  { from = { offset: 0, lineNo: 1 }, ifMatch, signal }: { from?: ManifestCursor; ifMatch?: string; signal?: AbortSignal },
): Promise<{ eTag: string; records: AsyncIterable<ManifestRecord> }> {
  const key = place.manifestKey;
  if (key === null) throw new SightlineError('source_not_found', 'The source names no manifest.');
  const { info, body } = await store.stream({ bucket: place.bucket, key }, { start: from.offset, ifMatch, signal });
  return { eTag: info.eTag, records: parseLines(readLines(body, { start: from, maxLineBytes: MAX_LINE_BYTES }), place, key) };
}

async function* parseLines(lines: AsyncIterable<Line>, place: SourcePlace, manifestKey: string): AsyncGenerator<ManifestRecord> {
  for await (const line of lines) {
    if (line.bytes !== null && isBlank(line.bytes)) continue;
    const parsed = parseLine(line);
    const at = `${manifestKey}:${line.lineNo}`;
    const base = { lineNo: line.lineNo, offset: line.offset, nextOffset: line.nextOffset };
    if ('reason' in parsed) {
      yield { ...base, record: null, failures: [{ key: at, code: 'manifest_line_invalid', reason: parsed.reason }] };
      continue;
    }
    const pictures = new Map<string, { bucket: string; key: string }>();
    const failures: ChunkOutcome['failures'] = [];
    for (const image of new Set(parsed.images)) {
      const key = resolvePictureKey(place.prefix, image);
      if (key === null)
        failures.push({
          key: `${at}:${image}`,
          code: 'key_outside_source',
          reason: `${image} leads out of the manifest's folder.`,
        });
      else pictures.set(key, { bucket: place.bucket, key });
    }
    const { item_id: itemId, title, text, attributes } = parsed;
    yield { ...base, record: { itemId, title, text, attributes, pictures: [...pictures.values()] }, failures };
  }
}

function isBlank(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}

function parseLine(line: Line): ManifestLine | { reason: string } {
  if (line.bytes === null) return { reason: `The line is longer than ${MAX_LINE_BYTES} bytes.` };
  let value: unknown;
  try {
    // A byte order mark at the beginning of the file is passed over by the decoder.
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line.bytes));
  } catch (error) {
    return { reason: error instanceof SyntaxError ? 'The line is not JSON.' : 'The line is not UTF-8.' };
  }
  const parsed = manifestLine.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  return { reason: issue ? `${issue.path.join('.') || 'record'}: ${issue.message}` : 'The line is not a record.' };
}

/** A picture's key from how a manifest names it, or null where it leads out of the manifest's folder. */
export function resolvePictureKey(folder: string, image: string): string | null {
  if (image.startsWith('/') || image.includes('\0') || /^[a-z][a-z0-9+.-]*:\/\//i.test(image)) return null;
  const segments: string[] = [];
  for (const segment of image.split('/')) {
    if (segment === '..') {
      if (segments.pop() === undefined) return null;
    } else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  return segments.length === 0 ? null : folder + segments.join('/');
}
