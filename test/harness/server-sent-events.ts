export interface ServerSentEvent {
  id: string;
  event: string;
  data: string;
}

/** All server-sent events of a stream that ends by itself. */
export async function readEvents(url: string, headers: Record<string, string> = {}): Promise<ServerSentEvent[]> {
  const response = await fetch(url, { headers });
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return (await response.text()).split('\n\n').flatMap((block) => {
    const fields = new Map(
      block.split('\n').flatMap((line): [string, string][] => {
        const colon = line.indexOf(': ');
        return colon > 0 ? [[line.slice(0, colon), line.slice(colon + 2)]] : [];
      }),
    );
    const event = fields.get('event');
    return event === undefined ? [] : [{ id: fields.get('id') ?? '', event, data: fields.get('data') ?? '' }];
  });
}
