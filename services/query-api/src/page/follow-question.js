import { call, send } from './call.js';
import { resumedEvents } from './event-stream.js';

/**
 * Tells a view of a question as it is worked, to its end, through broken connections. By fetch, because an EventSource sends no key.
 * Throws what the server refuses, and an AbortError when nobody looks any more.
 */
export async function followQuestion({ links, status }, view, signal) {
  if (status === 'queued') view.queued();
  else if (status === 'running') view.running();
  let isLost = false;
  const onLost = () => {
    isLost = true;
    view.lost();
  };
  const open = async (lastEventId) => {
    const headers = lastEventId ? { 'last-event-id': lastEventId } : {};
    const response = await send(links.events, { headers, signal });
    if (isLost) view.resumed();
    isLost = false;
    return response.status === 204 ? null : response;
  };
  const wait = (ms) => sleep(ms, signal);
  const tellers = { retrieved: view.retrieved, tokens: view.tokens, citations: view.citations };
  let end = null;
  for await (const { event, data } of resumedEvents({ open, last: 'done', wait, onLost })) {
    if (event === 'done') end = JSON.parse(data);
    else tellers[event]?.(JSON.parse(data));
  }
  view.done(end ?? (await call(links.self, { signal })));
}

function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
