import { z } from 'zod';
import type { IndexSpec } from '../ports/vector-index.ts';
import { SightlineError } from '../runtime/errors.ts';
import { collectionRequest, payloadIndexes, type QdrantCollectionSettings } from './qdrant-collection-settings.ts';
import type { QdrantConnection } from './qdrant-connection.ts';

const space = z.object({ fingerprint: z.string(), dimensions: z.number() });
/** What a collection says of itself, under `sightline` in its metadata. `format` 0 is a collection that is still being made. */
const about = z.object({ format: z.number(), image: space, text: space });
type About = z.infer<typeof about>;

type Migration = (connection: QdrantConnection, collection: string, settings: QdrantCollectionSettings) => Promise<void>;

/**
 * Step i brings a collection from format i to i + 1; a new format is a new step at the end. Several processes may take the same step
 * at once, and one may die in it, so a step must be one that can be taken twice. Points that a step has to change are changed
 * under their stamps, like every write.
 */
const MIGRATIONS: readonly Migration[] = [
  async function indexPayload(connection, collection, settings) {
    for (const [field_name, field_schema] of Object.entries(payloadIndexes(settings)))
      await connection.call((client) => client.createPayloadIndex(collection, { field_name, field_schema, wait: true }));
  },
  // Nothing to change: points are given the pictures of their records as they are written. A program from before would drop them.
  async function picturesOfRecords() {},
];
const FORMAT = MIGRATIONS.length;

/** A collection and what it was made for. */
export interface OpenedCollection {
  collection: string;
  spec: IndexSpec;
  /** Every point has replicas elsewhere. */
  isReplicated: boolean;
}

/**
 * The collection behind the alias, brought to this program's format; with a spec it is made when there is none, and proved to be
 * for that spec. Any number of processes may do this at once: the first collection's name is the same for all, so that Qdrant
 * itself lets one of them make it, and the fingerprints stand in its metadata from the same moment on.
 * Errors: `index_encoder_mismatch`, `index_unavailable`, `store_format_unsupported`.
 */
export async function openCollection(
  connection: QdrantConnection,
  alias: string,
  spec: IndexSpec | null,
  settings: QdrantCollectionSettings,
): Promise<OpenedCollection> {
  const behind = await collectionBehind(connection, alias);
  if (behind !== null) {
    const held = await readAbout(connection, behind);
    if (held === null) throw foreign(behind);
    return proved(connection, behind, held, spec, settings);
  }
  if (!spec) {
    throw new SightlineError(
      'index_unavailable',
      `Qdrant has no index called ${alias} yet: an encode worker makes it when it starts with its pack.`,
    );
  }
  const collection = collectionOf(alias, 1);
  const opened = await openNamedCollection(connection, collection, spec, settings);
  await pointAlias(connection, alias, collection);
  return opened;
}

/** The name of a version's collection. */
export function collectionOf(alias: string, version: number): string {
  return `${alias}-${version}`;
}

/** The version of a collection of this alias; null for another's. */
export function versionOf(alias: string, collection: string): number | null {
  const tail = collection.startsWith(`${alias}-`) ? collection.slice(alias.length + 1) : '';
  return /^[1-9]\d{0,8}$/.test(tail) ? Number(tail) : null;
}

/** As `openCollection`, for a collection by its own name, whether it serves or not. */
export async function openNamedCollection(
  connection: QdrantConnection,
  collection: string,
  spec: IndexSpec | null,
  settings: QdrantCollectionSettings,
): Promise<OpenedCollection> {
  if (spec) {
    const request = { ...collectionRequest(spec, settings), metadata: { sightline: { format: 0, ...spec } } };
    // 409: another process was first; which spec it came with is read below. The client's own method leaves the metadata out.
    await connection.call((client) => client.api().createCollection({ collection_name: collection, ...request }), [409]);
  } else if (!(await connection.call((client) => client.collectionExists(collection))).exists) {
    throw new SightlineError('index_unavailable', `Qdrant has no collection ${collection}.`);
  }
  const held = await readAbout(connection, collection);
  if (held === null) throw foreign(collection);
  return proved(connection, collection, held, spec, settings);
}

/** The collection that an alias stands for; null when there is no such alias. */
export async function collectionBehind(connection: QdrantConnection, alias: string): Promise<string | null> {
  const { aliases } = await connection.call((client) => client.getAliases());
  return aliases.find(({ alias_name }) => alias_name === alias)?.collection_name ?? null;
}

/** Lets the alias stand for this collection from one moment to the next. */
export async function pointAlias(connection: QdrantConnection, alias: string, collection: string): Promise<void> {
  const create_alias = { alias_name: alias, collection_name: collection };
  await connection.call((client) => client.updateCollectionAliases({ actions: [{ create_alias }] }));
}

const answer = z.object({
  config: z.object({
    metadata: z.object({ sightline: about }),
    params: z.object({ replication_factor: z.number().default(1) }),
  }),
});

/** What the collection says of itself; null where it is none of Sightline's. */
export async function readAbout(
  connection: QdrantConnection,
  collection: string,
): Promise<(About & { replicationFactor: number }) | null> {
  const parsed = answer.safeParse(await connection.call((client) => client.getCollection(collection)));
  if (!parsed.success) return null;
  const { metadata, params } = parsed.data.config;
  return { ...metadata.sightline, replicationFactor: params.replication_factor };
}

async function proved(
  connection: QdrantConnection,
  collection: string,
  { format, image, text, replicationFactor }: About & { replicationFactor: number },
  wanted: IndexSpec | null,
  settings: QdrantCollectionSettings,
): Promise<OpenedCollection> {
  const spec = { image, text };
  if (format > FORMAT) {
    throw new SightlineError(
      'store_format_unsupported',
      `The collection ${collection} has format ${format}, this program reads up to ${FORMAT}: it was written by a newer Sightline.`,
    );
  }
  for (const name of ['image', 'text'] as const) {
    const has = spec[name];
    const asked = wanted?.[name] ?? has;
    if (has.fingerprint === asked.fingerprint && has.dimensions === asked.dimensions) continue;
    throw new SightlineError(
      'index_encoder_mismatch',
      `The collection ${collection} holds ${name} vectors of encoder ${has.fingerprint} (${has.dimensions} dimensions), this ` +
        `process has ${asked.fingerprint} (${asked.dimensions}): start with the pack that made the index (ENCODER_PACK), or ` +
        'name another index (QDRANT_ALIAS) and ingest again.',
    );
  }
  for (let at = format; at < FORMAT; at++) {
    await MIGRATIONS[at]?.(connection, collection, settings);
    // Metadata are merged by their first level, so the whole entry is written.
    const metadata = { sightline: { format: at + 1, ...spec } };
    await connection.call((client) => client.api().updateCollection({ collection_name: collection, metadata }));
  }
  return { collection, spec, isReplicated: replicationFactor > 1 };
}

function foreign(collection: string): SightlineError {
  return new SightlineError('store_format_unsupported', `The collection ${collection} was not made by Sightline.`);
}
