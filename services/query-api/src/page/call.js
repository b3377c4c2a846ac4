/** Asks the interface; a problem becomes an Error with what it says to people. */
export async function call(path, options) {
  const response = await fetch(path, options).catch((error) => {
    if (error.name === 'AbortError') throw error;
    throw new Error('The server does not answer.', { cause: error });
  });
  const body = await response.json().catch(() => null);
  if (response.ok) return body;
  const fields = body?.errors?.map(({ field, message }) => `${field}: ${message}`).join('; ');
  throw new Error(fields || body?.detail || body?.title || `The server answered ${response.status}.`);
}
