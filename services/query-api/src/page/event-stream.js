/**
 * The server-sent events of an answer, each `{ id, event, data }` (`id`: the last that was named). However the bytes were cut on their
 * way the events are the same; one that the end of the stream cut is none. Who stops listening closes the connection.
 */
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  let id = '';
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const blocks = (text + part.value).split(/\r?\n\r?\n/);
      text = blocks.pop();
      for (const block of blocks) {
        const lines = block.split(/\r?\n/);
        const fields = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => valueOf(line, name));
        id = fields('id').at(-1) ?? id;
        const data = fields('data');
        if (data.length > 0) yield { id, event: fields('event').at(-1) ?? 'message', data: data.join('\n') };
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function valueOf(line, name) {
  return line.slice(name.length + 1).replace(/^ /, '');
}

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 15_000;

/**
 * The events of a stream that is opened again, after its last event, whenever it breaks off, until one named `last` came.
 * `open(lastEventId)` answers a response, null where there is nothing more to tell. What it throws is thrown on where the request was
 * wrong (`status` 4xx, but for 429); else it is tried again after a wait, or after `retryAfter` seconds. `onLost`: told before each wait.
 */
export async function* resumedEvents({ open, last, wait, onLost }) {
  let lastEventId = '';
  for (let failures = 0; ; failures++) {
    let retryAfterSeconds = 0;
    try {
      const response = await open(lastEventId);
      if (!response) return;
      for await (const event of eventsOf(response)) {
        failures = 0;
        lastEventId = event.id;
        yield event;
        if (event.event === last) return;
      }
    } catch (error) {
      const isRefused = error.status >= 400 && error.status < 500 && error.status !== 429;
      if (error.name === 'AbortError' || isRefused) throw error;
      retryAfterSeconds = error.retryAfter ?? 0;
    }
    onLost();
    await wait(Math.max(retryAfterSeconds * 1000, Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures)));
  }
}
