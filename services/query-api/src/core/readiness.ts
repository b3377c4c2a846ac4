import { DEFAULT_TENANT, newId } from '@sightline/shared/contracts/ids';
import { pinned } from '@sightline/shared/migration/serving-index';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { encodeQueryResult } from '@sightline/shared/contracts/jobs';
import type { QueueEngine } from '@sightline/shared/ports/queue-engine';

export interface ReadinessDeps {
  index: VectorIndex;
  ledger: Ledger;
  queue: QueueEngine;
  timeoutMs: number;
  /** Unix milliseconds. */
  now: () => number;
}

/** Probes come every few seconds from several sides: one check serves them all for so long. */
const FRESH_MS = 2_000;

/**
 * Whether a search would work: words are really encoded, past the cache, and the index really searched with the vector. Answers
 * with a function that throws the reason.
 */
export function readiness({ index: following, ledger, queue, timeoutMs, now }: ReadinessDeps): () => Promise<void> {
  const check = async () => {
    const index = pinned(following);
    await ledger.getSetting('readiness');
    const fingerprints = { image: index.spec.image.fingerprint, text: index.spec.text.fingerprint };
    const job = { tenant: DEFAULT_TENANT, fingerprints, query: 'ready', traceId: newId(), expiresAt: now() + timeoutMs };
    const { wordsInImageSpace, wordsInTextSpace } = encodeQueryResult.parse(
      await queue.request('encode-query', job, { lane: 'interactive', timeoutMs }),
    );
    const legs = [
      ...(wordsInImageSpace ? [{ space: 'image' as const, vector: Float32Array.from(wordsInImageSpace), limit: 1 }] : []),
      ...(wordsInTextSpace ? [{ space: 'text' as const, vector: Float32Array.from(wordsInTextSpace), limit: 1 }] : []),
      { space: 'keywords' as const, keywords: ['ready'], limit: 1 },
    ];
    await index.search(DEFAULT_TENANT, undefined, legs);
  };
  let last: { at: number; outcome: Promise<void> } | null = null;
  return () => {
    if (!last || now() - last.at >= FRESH_MS) last = { at: now(), outcome: check() };
    return last.outcome;
  };
}
