import { SightlineError } from '../runtime/errors.ts';
import type { GuardedHttpClient } from './guarded-http-client.ts';

export interface PictureRequest {
  maxBytes: number;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

/**
 * The bytes behind an address that a user gave for a picture. What they are is the decoder's to find out: no header is believed.
 * Errors: as the client's; `url_answer_not_ok` for another status than 200, `url_unreachable` where that may pass.
 */
export async function fetchPicture(
  client: GuardedHttpClient,
  url: string,
  { maxBytes, timeoutMs, signal }: PictureRequest,
): Promise<Uint8Array> {
  const headers = { accept: 'image/*' };
  const { status, bytes } = await client.request({ method: 'GET', url, headers, timeoutMs, maxResponseBytes: maxBytes, signal });
  if (status === 200) return bytes;
  const mayPass = status >= 500 || status === 408 || status === 429;
  throw new SightlineError(mayPass ? 'url_unreachable' : 'url_answer_not_ok', `It answered with ${status}.`);
}
