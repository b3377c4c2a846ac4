import { SightlineError } from '../runtime/errors.ts';

/**
 * The bytes of a base64 data URL that came as `image.data`, its declared type unread: what the bytes are is the decoder's to find out.
 * Errors: `request_invalid`, `picture_too_many_bytes`, `picture_empty`.
 */
export function bytesOfDataUrl(dataUrl: string, maxBytes: number): Buffer {
  const comma = dataUrl.indexOf(',');
  const head = dataUrl.slice(0, comma);
  const body = dataUrl.slice(comma + 1);
  if (comma < 0 || !/;base64$/i.test(head) || !/^[A-Za-z0-9+/]*={0,2}$/.test(body)) {
    throw new SightlineError('request_invalid', 'image.data: expected data:image/...;base64,...');
  }
  // Before it is decoded: what is too large takes no more memory than it has.
  if (Buffer.byteLength(body, 'base64') > maxBytes)
    throw new SightlineError('picture_too_many_bytes', `image.data: at most ${maxBytes} bytes are taken.`);
  const bytes = Buffer.from(body, 'base64');
  if (bytes.length === 0) throw new SightlineError('picture_empty', 'image.data');
  return bytes;
}
