import { contains, sourcePlace, type SourcePlace } from '../contracts/source-place.ts';
import type { Ingestion } from '../ports/ledger.ts';
import { isSidecar } from './sidecars.ts';

/** What an object is to a tenant's sources. */
export type Standing =
  /** Its place is a source: it belongs into the index for as long as it is there. */
  | 'listed'
  /** A manifest lies beside or above it: it belongs into the index if a record names it. */
  | 'nameable'
  /** It is itself the manifest of a source. */
  | 'manifest'
  | 'unknown';

/** The places of a tenant's known sources. */
export class KnownPlaces {
  readonly #places: SourcePlace[];

  constructor(ingestions: Pick<Ingestion, 'source'>[]) {
    this.#places = ingestions.flatMap(({ source }) => sourcePlace(source) ?? []);
  }

  standingOf(object: { bucket: string; key: string }): Standing {
    const around = this.#places.filter((place) => contains(place, object));
    if (around.some(({ manifestKey }) => manifestKey === object.key)) return 'manifest';
    if (around.some(({ manifestKey }) => manifestKey === null) && !isSidecar(object.key)) return 'listed';
    return around.length > 0 ? 'nameable' : 'unknown';
  }
}
