import type { JobName } from '@sightline/shared/contracts/jobs';
import type { JobHandler, QueueEngine } from '@sightline/shared/ports/queue-engine';
import { CHANGES_A_JOB, driveChanges } from '@sightline/shared/ingestion/drive-changes';
import { encodeChanges, type EncodeChangesDeps } from './core/encode-changes.ts';
import { encodeChunk } from './core/encode-chunk.ts';
import type { EncodeDeps } from './core/encode-deps.ts';
import { encodeQuery, type EncodeQueryDeps } from './core/encode-query.ts';

/** The jobs of this service; the mapped type forces a handler for each. */
type Served = Extract<JobName, 'encode' | 'encode-changes' | 'encode-query'>;
export type EncodeHandlers = { [N in Served]: JobHandler<N> };

export function encodeHandlers(deps: {
  chunk: EncodeDeps;
  changes: EncodeChangesDeps;
  query: EncodeQueryDeps;
  queue: Pick<QueueEngine, 'add'>;
}): EncodeHandlers {
  return {
    encode: (data, { lastAttempt, signal }) => encodeChunk(deps.chunk, data, { lastAttempt, signal }),
    'encode-changes': async (data, { signal }) => {
      const taken = await encodeChanges(deps.changes, data, { signal });
      // One batch a job, so that tenants take turns.
      const { spec } = deps.changes.encoder;
      if (taken === CHANGES_A_JOB) await driveChanges({ queue: deps.queue, spec }, { ...data, count: 1 });
    },
    'encode-query': (data, { signal }) => encodeQuery(deps.query, data, signal),
  };
}
