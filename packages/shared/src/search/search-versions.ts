import type { Ledger } from '../ports/ledger.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { QueueEngine } from '../ports/queue-engine.ts';
import type { VectorIndex } from '../ports/vector-index.ts';
import { pinned } from '../migration/serving-index.ts';
import type { Calibration } from '../retrieval/relevance.ts';
import { Backgrounds } from './backgrounds.ts';
import { Calibrations } from './calibrations.ts';
import { QueryEncoder } from './query-encoder.ts';
import { RecordKeywords } from './record-keywords.ts';
import type { SearchDeps } from './search.ts';

export interface SearchVersionsDeps {
  index: VectorIndex;
  ledger: Ledger;
  queue: QueueEngine;
  store: ObjectStore;
  fromPack: Calibration | null;
  encodeTimeoutMs: number;
  maxQueryPictureBytes: number;
  keywordScoresTold: boolean;
  now: () => number;
  warn: (message: string) => void;
}

/** What belongs to one version of the index and to no other: its encoders' queries, its calibration, its background. */
export interface SearchVersion {
  index: VectorIndex;
  encoder: QueryEncoder;
  calibrations: Calibrations;
  search: SearchDeps;
}

/** The parts of a search for the version of the index that serves; a search keeps those that it began with. */
export class SearchVersions {
  readonly #deps: SearchVersionsDeps;
  readonly #known = new WeakMap<VectorIndex, SearchVersion>();

  constructor(deps: SearchVersionsDeps) {
    this.#deps = deps;
  }

  current(): SearchVersion {
    const index = pinned(this.#deps.index);
    let version = this.#known.get(index);
    if (!version) this.#known.set(index, (version = this.#version(index)));
    return version;
  }

  #version(index: VectorIndex): SearchVersion {
    const { ledger, queue, store, fromPack, encodeTimeoutMs, maxQueryPictureBytes, keywordScoresTold, now, warn } = this.#deps;
    const { spec } = index;
    const calibrations = new Calibrations({ ledger, spec, fromPack, now, warn });
    const encoder = new QueryEncoder({
      queue,
      store,
      spec,
      timeoutMs: encodeTimeoutMs,
      maxPictureBytes: maxQueryPictureBytes,
      now,
    });
    const backgrounds = new Backgrounds(index, now);
    const search: SearchDeps = {
      index,
      encodeQuery: (query) => encoder.encode(query),
      logitScale: () => encoder.logitScale,
      recordKeywords: new RecordKeywords(),
      background: (tenant, space) => backgrounds.sample(tenant, space),
      keywordScoresTold,
      calibration: (tenant) => calibrations.current(tenant),
      nowMs: () => performance.now(),
    };
    return { index, encoder, calibrations, search };
  }
}
