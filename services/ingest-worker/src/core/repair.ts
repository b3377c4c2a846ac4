import { assetLockKey, newId } from '@sightline/shared/contracts/ids';
import { contains, sourcePlace } from '@sightline/shared/contracts/source-place';
import { withLeasedKeys, type LeaseDeps } from '@sightline/shared/ingestion/key-lease';
import type { Ingestion, Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import type { Finding } from './compare-point.ts';

export interface RepairDeps extends LeaseDeps {
  ledger: Ledger;
  index: VectorIndex;
  store: Pick<ObjectStore, 'head'>;
  now: () => number;
}

const DELETIONS_AT_ONCE = 64;
const LEASE_TTL_MS = 15_000;

/**
 * Puts right what an audit finds. Points that are wrong in themselves, or that no source has, become tombstones at once; for
 * everything else the sources concerned are ingested anew, which finds what is right unchanged. Holds a few findings at most.
 */
export class Repair {
  readonly #deps: RepairDeps;
  readonly #tenant: string;
  readonly #concerned = new Set<string>();
  #sources: Promise<Ingestion[]> | null = null;
  #areItemsConcerned = false;
  #doomed: { assetId: string; finding: Finding }[] = [];
  deleted = 0;

  constructor(deps: RepairDeps, tenant: string) {
    this.#deps = deps;
    this.#tenant = tenant;
  }

  async take(finding: Finding): Promise<void> {
    if (finding.bucket === null) this.#areItemsConcerned = true;
    else await this.#concern({ bucket: finding.bucket, key: finding.key });
    const isWrongItself = finding.entry === null && (finding.kind === 'malformed' || finding.kind === 'duplicate');
    const isPointExtra = finding.kind === 'extra' && (finding.bucket === null || finding.entry?.object !== undefined);
    if (finding.assetId === null || !(isWrongItself || isPointExtra)) return;
    this.#doomed.push({ assetId: finding.assetId, finding });
    if (this.#doomed.length >= DELETIONS_AT_ONCE) await this.#delete();
  }

  /**
   * Sets going what is left to do, which a running stack takes up within a second and another at its start. Answers the new
   * ingestions, and how many objects are looked at anew.
   */
  async finish(): Promise<{ ingestions: Ingestion[]; changes: number }> {
    await this.#delete();
    const { ledger, now } = this.#deps;
    const ingestions: Ingestion[] = [];
    for (const { ingestionId, source } of await ledger.latestIngestions(this.#tenant)) {
      const hasItems = (sourcePlace(source)?.manifestKey ?? null) !== null;
      if (!this.#concerned.has(ingestionId) && !(this.#areItemsConcerned && hasItems)) continue;
      ingestions.push(await ledger.createIngestion({ ingestionId: newId(), tenant: this.#tenant, source, createdAt: now() }));
    }
    return { ingestions, changes: 0 };
  }

  /** The sources that can have the object. */
  async #concern(object: { bucket: string; key: string }): Promise<void> {
    this.#sources ??= this.#deps.ledger.latestIngestions(this.#tenant);
    for (const { ingestionId, source } of await this.#sources) {
      const place = sourcePlace(source);
      if (place && contains(place, object)) this.#concerned.add(ingestionId);
    }
  }

  async #delete(): Promise<void> {
    const doomed = this.#doomed;
    this.#doomed = [];
    const { index, store, now } = this.#deps;
    const byKey = new Map(doomed.map((one) => [assetLockKey(this.#tenant, one.assetId), one]));
    await withLeasedKeys(this.#deps, byKey.keys(), { ttlMs: LEASE_TTL_MS }, async (granted, lease) => {
      for (const key of granted) {
        const one = byKey.get(key);
        if (!one) continue;
        const point = (await index.get(this.#tenant, [one.assetId])).get(one.assetId);
        if (!point || point.deleted) continue;
        // It may have come back since the audit looked.
        if (one.finding.entry?.reconcile === 'drop_if_gone' && point.object && (await store.head(point.object))) continue;
        lease.assertHeld();
        const { assetId, tenant, object } = point;
        await index.delete([{ assetId, tenant, version: lease.version, reason: 'gone', object, at: now() }]);
        this.deleted += 1;
      }
    });
  }
}
