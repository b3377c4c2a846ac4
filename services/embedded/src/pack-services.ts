import { openEncoder } from '@sightline/encode-worker/open-encoder';
import { QueryPeers } from '@sightline/encode-worker/query-peers';
import { startEncodeWorker } from '@sightline/encode-worker/service';
import { isMigrationOver } from '@sightline/shared/contracts/migrations';
import { changeMigration, latestMigration } from '@sightline/shared/migration/change-migration';
import type { IndexVersions } from '@sightline/shared/ports/index-versions';
import type { Ledger } from '@sightline/shared/ports/ledger';
import { packCalibrationSetting } from '@sightline/shared/retrieval/relevance';
import { toSightlineError } from '@sightline/shared/runtime/errors';
import type { RunningService } from '@sightline/shared/runtime/lifecycle';
import type { Engines } from '@sightline/shared/runtime/open-engines';
import { sleep } from '@sightline/shared/runtime/sleep';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { EmbeddedConfig } from './embedded.ts';

const LOOK_EVERY_MS = 300;

type OpenedEncoder = Awaited<ReturnType<typeof openEncoder>>;

export interface PacksWanted {
  /** Made the version that serves. */
  serving: string;
  /** The one that serves first. */
  all: string[];
}

/**
 * The packs that have to run, by what was migrated: the one of the version that serves, which may be another than ENCODER_PACK, and
 * while a migration is going its other one.
 */
export async function packsWanted(
  { ledger, versions }: { ledger: Pick<Ledger, 'listMigrations'>; versions: Pick<IndexVersions, 'serving'> },
  configured: string,
): Promise<PacksWanted> {
  const migrations = await ledger.listMigrations(1_000);
  const version = await versions.serving();
  const packs = migrations.flatMap(({ from, to }) => [from, ...(to ? [to] : [])]);
  const serving = packs.find((one) => one.version === version && one.pack !== null)?.pack ?? configured;
  const [latest] = migrations;
  const others = latest && !isMigrationOver(latest) ? [latest.pack, latest.from.pack ?? configured] : [];
  return { serving, all: [...new Set([serving, ...others])] };
}

export interface PackServicesDeps {
  engines: Engines;
  config: EmbeddedConfig;
  /** Where packs are looked for. */
  packPlaces: string[];
  logger: Logger;
  registry: Registry;
}

/** The encode workers of this process, one for each pack that has to run: they come and go with migrations. */
export class PackServices {
  readonly #deps: PackServicesDeps;
  readonly #running = new Map<string, { service: RunningService; opened: OpenedEncoder }>();
  readonly #peers = new QueryPeers();
  readonly #stop = new AbortController();
  #watching: Promise<void> = Promise.resolve();
  #serving: string;

  constructor(deps: PackServicesDeps, serving: string) {
    this.#deps = deps;
    this.#serving = serving;
  }

  /** The pack of the version that serves. */
  get serving(): string {
    return this.#serving;
  }

  /** Starts the worker of a pack; its encoder is this one's to close from here on. */
  async start(pack: string, opened: OpenedEncoder): Promise<void> {
    const { engines, config, logger, registry } = this.#deps;
    const { encoder, calibration } = opened;
    try {
      if (calibration)
        await engines.ledger.putSetting(packCalibrationSetting(calibration.fingerprints), JSON.stringify(calibration));
      const service = await startEncodeWorker({
        ...engines,
        encoder,
        pack,
        peers: this.#peers,
        registry,
        logger: logger.child({ component: 'encode-worker', pack }),
        config: { maxPictureBytes: config.maxPictureBytes },
      });
      this.#running.set(pack, { service, opened });
    } catch (error) {
      await encoder.close();
      throw error;
    }
  }

  /** Follows migrations until closed. */
  watch(): void {
    this.#watching = (async (): Promise<void> => {
      while (!this.#stop.signal.aborted) {
        await this.#look().catch((error: unknown) => this.#deps.logger.warn({ err: error }, 'the packs that have to run'));
        await sleep(LOOK_EVERY_MS, this.#stop.signal).catch(() => {});
      }
    })();
  }

  async ready(): Promise<void> {
    for (const { service } of this.#running.values()) await service.ready();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#watching;
    for (const pack of this.#running.keys()) await this.#end(pack);
  }

  async #look(): Promise<void> {
    const { engines, config } = this.#deps;
    const wanted = await packsWanted(engines, config.encoderPack);
    this.#serving = wanted.serving;
    for (const pack of wanted.all) if (!this.#running.has(pack) && !this.#stop.signal.aborted) await this.#begin(pack);
    for (const pack of this.#running.keys()) if (!wanted.all.includes(pack)) await this.#end(pack);
  }

  async #begin(pack: string): Promise<void> {
    const { config, packPlaces, logger, registry, engines } = this.#deps;
    try {
      logger.info({ pack }, 'a pack is opened for the migration');
      await this.start(pack, await openEncoder({ ...config, encoderPack: pack, packPlaces }, { logger, registry }));
    } catch (thrown) {
      const error = toSightlineError(thrown);
      const migration = await latestMigration(engines.ledger);
      if (error.retryable || migration?.pack !== pack) throw error;
      logger.error({ err: error, pack }, 'the pack to migrate to cannot be opened');
      const change = () => ({ status: 'failed' as const, reason: error.message, finishedAt: Date.now() });
      await changeMigration(engines.ledger, migration.migrationId, ['waiting'], change);
    }
  }

  async #end(pack: string): Promise<void> {
    const running = this.#running.get(pack);
    this.#running.delete(pack);
    await running?.service.close();
    await running?.opened.encoder.close();
  }
}
