export interface ToldEvent {
  id: string;
  event: string;
  /** Parsed from JSON. */
  data: unknown;
}

/** Server-sent events of a body as they come, as this stack writes them: one line of JSON each. Heartbeats are passed over. */
export async function* serverSentEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ToldEvent> {
  let text = '';
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const event = eventOf(text.slice(0, end));
      text = text.slice(end + 2);
      if (event) yield event;
    }
  }
}

function eventOf(block: string): ToldEvent | null {
  const field = (name: string) => new RegExp(`^${name}: ?(.*)$`, 'm').exec(block)?.[1];
  const data = field('data');
  return data === undefined ? null : { id: field('id') ?? '', event: field('event') ?? 'message', data: JSON.parse(data) };
}
