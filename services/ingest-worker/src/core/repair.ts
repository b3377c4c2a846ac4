import { assetLockKey, newId } from '@sightline/shared/contracts/ids';
import type { Change } from '@sightline/shared/contracts/changes';
import { contains, sourcePlace } from '@sightline/shared/contracts/source-place';
import { KnownPlaces } from '@sightline/shared/ingestion/known-places';
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

interface ObjectPlace {
  bucket: string;
  key: string;
}

const AT_ONCE = 64;
const LEASE_TTL_MS = 15_000;

/**
 * Puts right what an audit finds. An object that a source lists is written down as changed, so that an encode worker brings its point
 * in step with what the store has; what is about records has the manifests ingested anew, which finds what is right unchanged. Points
 * that are wrong in themselves, or that no source has, become tombstones first, but for those that carry a pushed record: it stands
 * nowhere else, and is completed from what stands of it. Holds a few findings at most.
 */
export class Repair {
  readonly #deps: RepairDeps;
  readonly #tenant: string;
  readonly #concerned = new Set<string>();
  #sources: Promise<{ ingestions: Ingestion[]; known: KnownPlaces }> | null = null;
  #areItemsConcerned = false;
  #doomed: { assetId: string; finding: Finding }[] = [];
  #changed: Change[] = [];
  deleted = 0;
  #changes = 0;

  constructor(deps: RepairDeps, tenant: string) {
    this.#deps = deps;
    this.#tenant = tenant;
  }

  async take(finding: Finding): Promise<void> {
    const record = finding.entry?.record;
    if (record?.pushed) this.#changed.push({ kind: 'item', itemId: record.itemId, record });
    else if (finding.bucket === null) {
      this.#areItemsConcerned = true;
      if (finding.assetId !== null && (isWrongInItself(finding) || finding.kind === 'extra'))
        this.#doom(finding.assetId, finding);
    } else await this.#takeOfObject(finding, { bucket: finding.bucket, key: finding.key });
    if (this.#doomed.length + this.#changed.length >= AT_ONCE) await this.#carryOut();
  }

  /**
   * Sets going what is left to do, which a running stack takes up within a second and another at its start. Answers the new
   * ingestions, and how many objects and pushed records are looked at anew.
   */
  async finish(): Promise<{ ingestions: Ingestion[]; changes: number }> {
    await this.#carryOut();
    const { ledger, now } = this.#deps;
    const ingestions: Ingestion[] = [];
    for (const { ingestionId, source } of await ledger.latestIngestions(this.#tenant)) {
      const hasItems = (sourcePlace(source)?.manifestKey ?? null) !== null;
      if (!this.#concerned.has(ingestionId) && !(this.#areItemsConcerned && hasItems)) continue;
      ingestions.push(await ledger.createIngestion({ ingestionId: newId(), tenant: this.#tenant, source, createdAt: now() }));
    }
    return { ingestions, changes: this.#changes };
  }

  async #takeOfObject(finding: Finding, object: ObjectPlace): Promise<void> {
    const { kind, assetId, entry } = finding;
    const { known } = await this.#readSources();
    const isListed = known.standingOf(object) === 'listed';
    if (entry?.record) return this.#concern(object, 'all');
    if (kind === 'extra' && !isListed) return this.#doom(assetId, finding);
    if (isWrongInItself(finding)) this.#doom(assetId, finding);
    // A point that has to be made anew has lost its records as well.
    if (kind === 'missing' || isWrongInItself(finding)) await this.#concern(object, 'manifests');
    if (isListed || kind === 'stale' || kind === 'missing') this.#changed.push({ kind: 'object', ...object });
  }

  #doom(assetId: string | null, finding: Finding): void {
    if (assetId !== null) this.#doomed.push({ assetId, finding });
  }

  /** Ingests anew the sources that can have the object. */
  async #concern(object: ObjectPlace, which: 'all' | 'manifests'): Promise<void> {
    const { ingestions } = await this.#readSources();
    for (const { ingestionId, source } of ingestions) {
      const place = sourcePlace(source);
      if (!place || !contains(place, object) || (which === 'manifests' && place.manifestKey === null)) continue;
      this.#concerned.add(ingestionId);
    }
  }

  #readSources(): Promise<{ ingestions: Ingestion[]; known: KnownPlaces }> {
    this.#sources ??= this.#deps.ledger
      .latestIngestions(this.#tenant)
      .then((ingestions) => ({ ingestions, known: new KnownPlaces(ingestions) }));
    return this.#sources;
  }

  /** What is wrong goes before it is looked at anew: the new look must not find it right. */
  async #carryOut(): Promise<void> {
    await this.#delete();
    const changed = this.#changed;
    this.#changed = [];
    if (changed.length === 0) return;
    const noted = changed.map((change) => ({ change, changedAt: null }));
    await this.#deps.ledger.noteChanges(this.#tenant, noted, this.#deps.now());
    this.#changes += noted.length;
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
        if (point.records.some(({ pushed }) => pushed)) {
          if (point.object) this.#changed.push({ kind: 'object', bucket: point.object.bucket, key: point.object.key });
          continue;
        }
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

function isWrongInItself({ entry, kind }: Finding): boolean {
  return entry === null && (kind === 'malformed' || kind === 'duplicate');
}
