import { call, send } from './call.js';
import { eventsOf } from './event-stream.js';

const LOOK_EVERY_MS = 4_000;
const SHOWN_AFTER_MS = 4_000;

/** Shows a running ingestion's progress in the strip, also one that begins while the page is open. `isAllowed`: whether the server answers
 * this page at all; `onFinished` after each. */
export function watchIngestions({ strip, text, bar }, { isAllowed, onFinished }) {
  let watched = false;

  async function look() {
    if (watched || document.hidden || !isAllowed()) return;
    const { ingestions } = await call('/v1/ingestions?limit=5');
    const live = ingestions.find(({ status }) => status === 'running' || status === 'planning');
    if (!live || watched) return;
    watched = true;
    try {
      await follow(live);
    } finally {
      watched = false;
    }
  }

  /** By fetch, because an EventSource sends no key. A stream that breaks off is looked for again. */
  async function follow(ingestion) {
    for await (const { event, data } of eventsOf(await send(ingestion.links.events))) {
      tell(JSON.parse(data));
      if (event !== 'done') continue;
      onFinished();
      setTimeout(() => {
        if (!watched) strip.hidden = true;
      }, SHOWN_AFTER_MS);
      return;
    }
  }

  function tell({ counts, status, images_per_second: rate, eta_seconds: eta }) {
    const done = counts.indexed + counts.unchanged + counts.duplicate + counts.failed;
    strip.hidden = false;
    bar.max = Math.max(1, counts.listed);
    bar.value = done;
    const parts = [
      `${status === 'completed' ? 'Ingested' : 'Ingesting'}: ${done.toLocaleString()} of ${counts.listed.toLocaleString()}`,
    ];
    if (rate) parts.push(`${rate.toFixed(rate < 10 ? 1 : 0)} a second`);
    if (eta !== null) parts.push(`about ${eta < 90 ? `${eta} s` : `${Math.round(eta / 60)} min`} left`);
    if (counts.failed > 0) parts.push(`${counts.failed.toLocaleString()} failed`);
    text.textContent = parts.join(' · ');
  }

  // A stack that is away for a while is looked for again.
  const again = () => look().catch(() => undefined);
  setInterval(() => void again(), LOOK_EVERY_MS);
  void again();
}
