import type { JobHandler } from '@sightline/shared/ports/queue-engine';
import type { IndexSpec } from '@sightline/shared/ports/vector-index';

type Handler = JobHandler<'encode-query'>;

/**
 * Workers of several packs in one process, while the index is migrated: a query that was taken by the wrong one is answered by the
 * right one at once, and handed back only when it is in no process of ours.
 */
export class QueryPeers {
  readonly #handlers: { spec: IndexSpec; handler: Handler }[] = [];

  /** Answers what takes it out again. */
  add(spec: IndexSpec, handler: Handler): () => Promise<void> {
    const entry = { spec, handler };
    this.#handlers.push(entry);
    return async () => {
      const at = this.#handlers.indexOf(entry);
      if (at >= 0) this.#handlers.splice(at, 1);
    };
  }

  /** `own` for whatever no other one here is for. */
  handlerBeside(own: Handler): Handler {
    return (data, context) => {
      const { image, text } = data.fingerprints;
      const peer = this.#handlers.find(({ spec }) => spec.image.fingerprint === image && spec.text.fingerprint === text);
      return (peer?.handler ?? own)(data, context);
    };
  }
}
