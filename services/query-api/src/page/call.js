import { keyHeaders } from './key.js';

/** Asks the interface; a problem becomes an Error with what it says to people, its code, its status, and the seconds to wait where it says so. */
export async function call(path, options) {
  const response = await send(path, options);
  return response.json();
}

/** As `call`, with the answer as it comes: for pictures and streams. */
export async function send(path, options = {}) {
  const headers = { ...options.headers, ...keyHeaders() };
  const response = await fetch(path, { ...options, headers }).catch((error) => {
    if (error.name === 'AbortError') throw error;
    throw new Error('The server does not answer.', { cause: error });
  });
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  const fields = body?.errors?.map(({ field, message }) => `${field}: ${message}`).join('; ');
  const error = new Error(fields || body?.detail || body?.title || `The server answered ${response.status}.`);
  error.code = body?.code;
  error.status = response.status;
  error.retryAfter = Number(response.headers.get('retry-after')) || null;
  throw error;
}
