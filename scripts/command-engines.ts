import { existsSync, mkdirSync } from 'node:fs';
import { pino } from 'pino';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { IndexSpec, VectorIndex } from '@sightline/shared/ports/vector-index';
import { readConfig, SHARED_SETTINGS } from '@sightline/shared/runtime/config';
import { ENGINE_SETTINGS, enginePlaces } from '@sightline/shared/runtime/engine-settings';
import type { Closer } from '@sightline/shared/runtime/lifecycle';
import { assertSameSpec } from '@sightline/shared/migration/same-spec';
import { dataFiles, openIndex, openIndexVersions, openLedger, openObjectStore } from '@sightline/shared/runtime/open-engines';

/** The engines of a stack for a command that runs beside it or without it, by the settings that its services read. */
export interface CommandEngines {
  files: ReturnType<typeof dataFiles>;
  /** False where nothing was ever written: a ledger file that is not there. */
  hasLedger(): boolean;
  /** Made where there is none, so that a stack can be given its first key before it starts. */
  ledger(): Promise<Ledger>;
  store(): Promise<ObjectStore>;
  /** Of what the index holds, or made for `spec`. Error: `index_unavailable` where there is none. */
  index(spec?: IndexSpec): Promise<VectorIndex>;
}

export const commandLogger = pino({ level: 'warn' }, pino.destination(2));

/** What is opened goes onto the closer. */
export function commandEngines(closer: Closer): CommandEngines {
  const config = readConfig({ ...ENGINE_SETTINGS, redisUrl: SHARED_SETTINGS.optionalRedisUrl }, process.env);
  const places = enginePlaces(config, config.redisUrl ?? null);
  const files = dataFiles(config.dataDir);
  const deps = { logger: commandLogger, closer };
  let opening: Promise<Ledger> | null = null;
  const ledger = (): Promise<Ledger> => {
    mkdirSync(files.root, { recursive: true });
    return (opening ??= openLedger(places, deps));
  };
  return {
    files,
    ledger,
    hasLedger: () => places.ledger !== null || existsSync(files.ledger),
    store: () => openObjectStore(places, deps),
    index: async (spec) => {
      const versions = openIndexVersions(places, deps);
      const index = await openIndex(versions, { ledger: await ledger(), ...(spec && { indexSpec: spec }) }, deps, { waitMs: 0 });
      if (spec) assertSameSpec(index.spec, spec);
      return index;
    },
  };
}
