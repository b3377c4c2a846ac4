import { expect, test } from '@jest/globals';
import { eventsOf, resumedEvents, type StreamedEvent } from './event-stream.js';

const STREAM = [
  'id: 1\nevent: retrieved\ndata: {"title":"散热器 ✓"}\n\n',
  ': heartbeat\n\n',
  'id: 2\r\nevent: tokens\r\ndata: a\r\ndata:b\r\n\r\n',
  'data: unnamed\n\n',
  'id: 3\nevent: tokens\ndata: cut off',
].join('');
const EVENTS = [
  { id: '1', event: 'retrieved', data: '{"title":"散热器 ✓"}' },
  { id: '2', event: 'tokens', data: 'a\nb' },
  { id: '2', event: 'message', data: 'unnamed' },
];

/** A response whose bytes come in pieces of this size. */
function inPieces(text: string, sizeBytes: number, onCancel = () => {}): Response {
  const bytes = new TextEncoder().encode(text);
  let at = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(at, (at += sizeBytes)));
    },
    cancel: onCancel,
  });
  return new Response(body);
}

async function all(events: AsyncIterable<StreamedEvent>): Promise<StreamedEvent[]> {
  const list = [];
  for await (const event of events) list.push(event);
  return list;
}

test.each([1, 2, 3, 7, 4_096])('events are the same in pieces of %i bytes', async (sizeBytes) => {
  expect(await all(eventsOf(inPieces(STREAM, sizeBytes)))).toEqual(EVENTS);
});

test('who stops listening closes the connection', async () => {
  let isClosed = false;
  for await (const _ of eventsOf(inPieces(STREAM, 16, () => void (isClosed = true)))) break;
  expect(isClosed).toBe(true);
});

test('a stream that breaks off goes on after its last event, at once slower and slower', async () => {
  const asked: string[] = [];
  const waits: number[] = [];
  const refusals: Record<number, Error> = {
    1: new Error('The server does not answer.'),
    2: Object.assign(new Error('full'), { status: 503, retryAfter: 30 }),
  };
  const replies = [
    'id: 1\nevent: tokens\ndata: a\n\nid: 2\nevent: tok',
    '',
    '',
    'id: 2\nevent: tokens\ndata: b\n\n',
    'id: x\nevent: done\ndata: {}\n\nid: y\nevent: more\ndata: {}\n\n',
  ];
  const events = await all(
    resumedEvents({
      open: async (lastEventId) => {
        const refusal = refusals[asked.push(lastEventId) - 1];
        if (refusal) throw refusal;
        return inPieces(replies[asked.length - 1] ?? '', 5);
      },
      last: 'done',
      wait: async (ms) => void waits.push(ms),
      onLost: () => undefined,
    }),
  );
  expect(events.map(({ data }) => data)).toEqual(['a', 'b', '{}']);
  expect(asked).toEqual(['', '1', '1', '1', '2']);
  expect(waits).toEqual([1_000, 2_000, 30_000, 1_000]);
});

test('what the server refuses for good is thrown, and nothing more to tell is the end', async () => {
  const never = { last: 'done', wait: () => Promise.reject(new Error('waited')), onLost: () => undefined };
  const gone = Object.assign(new Error('gone'), { status: 404 });
  await expect(all(resumedEvents({ ...never, open: () => Promise.reject(gone) }))).rejects.toBe(gone);
  expect(await all(resumedEvents({ ...never, open: async () => null }))).toEqual([]);
});
