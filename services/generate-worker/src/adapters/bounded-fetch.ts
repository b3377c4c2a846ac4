/** More than the longest answer takes with the wrapping of each of its tokens. */
const MOST_ANSWER_BYTES = 16 * 1024 ** 2;
const MOST_ERROR_BYTES = 64 * 1024;

/** The model server sent more than any answer can be. */
export class AnswerFlood extends Error {}

/**
 * `fetch` for the `openai` library, which reads whole bodies and whole lines however long they are, and keeps of an error body only what
 * stands under `error`: servers write their reasons under `message` and `detail` too.
 */
export function boundedFetch(fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (url, init) => {
    const response = await fetch(url, init);
    const { status, headers } = response;
    if (!response.ok) {
      const said = await beginningOf(response);
      const body = JSON.stringify({ error: errorIn(said) });
      const kept = Object.fromEntries(
        ['retry-after', 'retry-after-ms'].flatMap((name) => [[name, headers.get(name)]].filter(hasValue)),
      );
      return new Response(body, { status: Math.max(400, status), headers: { 'content-type': 'application/json', ...kept } });
    }
    if (!response.body) return response;
    let bytes = 0;
    const counted = response.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => {
          bytes += chunk.byteLength;
          if (bytes > MOST_ANSWER_BYTES) controller.error(new AnswerFlood(`more than ${MOST_ANSWER_BYTES} bytes`));
          else controller.enqueue(chunk);
        },
      }),
    );
    return new Response(counted, { status, headers });
  };
}

function hasValue(entry: (string | null)[]): entry is [string, string] {
  return typeof entry[1] === 'string';
}

async function beginningOf(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length >= MOST_ERROR_BYTES) break;
  }
  return text.slice(0, MOST_ERROR_BYTES);
}

function errorIn(said: string): Record<string, unknown> {
  let body: unknown;
  try {
    body = JSON.parse(said);
  } catch {
    return { message: said };
  }
  const outer = isRecord(body) ? body : { message: said };
  const error = isRecord(outer['error']) ? outer['error'] : outer;
  const message = error['message'] ?? error['error'] ?? error['detail'] ?? said;
  return { ...error, message: typeof message === 'string' ? message : JSON.stringify(message) };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
