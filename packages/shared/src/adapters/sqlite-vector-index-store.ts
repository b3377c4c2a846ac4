import { existsSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { getLoadablePath } from 'sqlite-vec';
import type { IndexSpec } from '../ports/vector-index.ts';
import { SightlineError } from '../runtime/errors.ts';
import { openDatabase } from './sqlite-database.ts';
import { claimSpec, INDEX_FORMAT, readSpec } from './sqlite-vector-index-format.ts';

export interface IndexStoreOptions {
  file: string;
  /** What the index must be for; null opens what is there. */
  spec: IndexSpec | null;
}

/** Opens one thread's connection. A writer makes the file, its layout and its spec; a reader opens after it. */
export function openIndexStore<M>(
  { file, spec }: IndexStoreOptions,
  role: 'writer' | 'reader',
  methods: (db: DatabaseSync, spec: IndexSpec) => M,
): { methods: M & { spec: () => IndexSpec }; close: () => void } {
  if (!spec && !existsSync(file)) throw empty(file);
  const db = openDatabase({ file, format: INDEX_FORMAT, readOnly: role === 'reader', extension: getLoadablePath() });
  try {
    if (spec && role === 'writer') claimSpec(db, file, spec);
    const held = readSpec(db);
    if (!held) throw empty(file);
    return { methods: { ...methods(db, held), spec: () => held }, close: () => db.close() };
  } catch (error) {
    db.close();
    throw error;
  }
}

function empty(file: string): SightlineError {
  return new SightlineError(
    'index_unavailable',
    `${file} holds no index yet: an encode worker makes it when it starts with its pack.`,
  );
}
