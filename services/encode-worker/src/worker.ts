import type { JobName } from '@sightline/shared/contracts/jobs';
import type { JobHandler } from '@sightline/shared/ports/queue-engine';
import { encodeChunk } from './core/encode-chunk.ts';
import type { EncodeDeps } from './core/encode-deps.ts';
import { encodeQuery, type EncodeQueryDeps } from './core/encode-query.ts';

/** The jobs of this service; the mapped type forces a handler for each. */
type Served = Extract<JobName, 'encode' | 'encode-query'>;
export type EncodeHandlers = { [N in Served]: JobHandler<N> };

export function encodeHandlers(deps: { chunk: EncodeDeps; query: EncodeQueryDeps }): EncodeHandlers {
  return {
    encode: (data, { lastAttempt, signal }) => encodeChunk(deps.chunk, data, { lastAttempt, signal }),
    'encode-query': (data, { signal }) => encodeQuery(deps.query, data, signal),
  };
}
