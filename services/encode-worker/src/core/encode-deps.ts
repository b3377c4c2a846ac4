import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import type { ErrorCode } from '@sightline/shared/runtime/errors';
import type { Logger } from 'pino';
import type { Lane } from '@sightline/shared/contracts/jobs';
import type { Encoder } from './encoder.ts';
import type { PictureFeed, Stage } from './picture-feed.ts';

/** What becomes of a picture or record. */
export type Settled = 'indexed' | 'unchanged' | 'duplicate';

/** What encoding a chunk stands on. */
export interface EncodeDeps {
  store: ObjectStore;
  index: VectorIndex;
  ledger: Ledger;
  encoder: Encoder;
  feed: PictureFeed;
  logger: Logger;
  now: () => number;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** How long a dead worker keeps others from its keys. */
  leaseTtlMs: number;
  lane: Lane;
  observe: (stage: Stage, seconds: number) => void;
  count: (outcome: Settled | 'failed', code?: ErrorCode) => void;
}

/** For one chunk. */
export interface ChunkDeps extends EncodeDeps {
  /** The encoder's passages of a text, cut once for all the pictures that carry it. */
  passagesOf: (text: string) => string[];
}

export function forChunk(deps: EncodeDeps): ChunkDeps {
  const known = new Map<string, string[]>();
  const passagesOf = (text: string): string[] => {
    let passages = known.get(text);
    if (!passages) known.set(text, (passages = deps.encoder.splitPassages(text)));
    return passages;
  };
  return { ...deps, passagesOf };
}
