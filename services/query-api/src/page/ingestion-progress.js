import { call } from './call.js';

const LOOK_EVERY_MS = 4_000;
const SHOWN_AFTER_MS = 4_000;

/** Shows a running ingestion's progress in the strip, also one that begins while the page is open. `onFinished` after each. */
export function watchIngestions({ strip, text, bar }, onFinished) {
  let watched = null;

  async function look() {
    if (watched || document.hidden) return;
    const { ingestions } = await call('/v1/ingestions?limit=5');
    const live = ingestions.find(({ status }) => status === 'running' || status === 'planning');
    if (live) follow(live);
  }

  function follow(ingestion) {
    watched = new EventSource(ingestion.links.events);
    watched.addEventListener('progress', ({ data }) => tell(JSON.parse(data)));
    watched.addEventListener('done', ({ data }) => {
      tell(JSON.parse(data));
      watched.close();
      watched = null;
      onFinished();
      setTimeout(() => {
        if (!watched) strip.hidden = true;
      }, SHOWN_AFTER_MS);
    });
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
