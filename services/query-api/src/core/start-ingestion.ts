import { newId } from '@sightline/shared/contracts/ids';
import type { Source } from '@sightline/shared/contracts/records';
import { sourcePlace } from '@sightline/shared/contracts/source-place';
import { assertMayBegin } from './active-ingestions.ts';
import { assertAllowed } from '@sightline/shared/ingestion/source-policy';
import type { Ingestion, Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { QueueEngine } from '@sightline/shared/ports/queue-engine';

export interface StartIngestionDeps {
  ledger: Ledger;
  queue: QueueEngine;
  store: ObjectStore;
  /** Unix milliseconds. */
  now: () => number;
}

/**
 * Writes an ingestion down and has it planned; both are durable when it returns. `localAllowed`: files of this machine may be
 * named. `dryRun`: it is listed and counted, and nothing else. Errors: `source_not_allowed`, `source_not_found` (looked for first, so that a typing error is answered at once),
 * `request_invalid`, `too_many_ingestions`, `queue_unavailable` (then the ingestion is marked failed).
 */
export async function startIngestion(
  deps: StartIngestionDeps,
  request: {
    tenant: string;
    source: Source;
    dryRun: boolean;
    traceId: string;
    localAllowed: boolean;
    allowedSources: readonly string[];
  },
): Promise<Ingestion> {
  const { tenant, traceId } = request;
  await assertMayBegin(deps.ledger, tenant);
  const source = await checkedSource(deps.store, request);
  const ingestionId = newId();
  const ingestion = await deps.ledger.createIngestion({
    ingestionId,
    tenant,
    source,
    dryRun: request.dryRun,
    createdAt: deps.now(),
  });
  try {
    await deps.queue.add('plan', { tenant, ingestionId, traceId }, { lane: 'bulk', jobId: `plan-${ingestionId}` });
  } catch (error) {
    await deps.ledger.setStatus(ingestionId, ['planning'], 'failed', { reason: 'queue_unavailable', at: deps.now() });
    throw error;
  }
  return ingestion;
}

/** The source in the one spelling that asset ids are made from; what it names is there, and the tenant may have it. */
async function checkedSource(
  store: ObjectStore,
  request: { tenant: string; source: Source; localAllowed: boolean; allowedSources: readonly string[] },
): Promise<Source> {
  const { source } = request;
  const isStored = source.type === 'prefix' || (source.type === 'manifest' && source.uri.startsWith('s3://'));
  if (source.type === 'manifest' && /^[a-z0-9+]+:\/\//i.test(source.uri) && !/^(file|s3):\/\//.test(source.uri)) {
    throw new SightlineError('source_not_allowed', 'source.uri: a path of the server, or s3://bucket/key.');
  }
  if (!isStored && !request.localAllowed) {
    throw new SightlineError(
      'source_not_allowed',
      'Files of the server are ingested only by the embedded stack, asked over the loopback interface.',
    );
  }
  const place = sourcePlace(source);
  if (!place)
    throw new SightlineError(
      'request_invalid',
      `source.${source.type === 'directory' ? 'path' : 'uri'}: expected an absolute path, or s3://bucket/key.`,
    );
  if (isStored) assertAllowed(place, request);
  const { bucket, prefix, manifestKey } = place;
  if (manifestKey === null) await assertListable(store, bucket, prefix);
  else if (!(await store.head({ bucket, key: manifestKey })))
    throw new SightlineError('source_not_found', `${bucket}/${manifestKey}`);
  if (source.type === 'directory') return { type: 'directory', path: bucket };
  return source.type === 'manifest' && !isStored
    ? { type: 'manifest', uri: `${bucket === '/' ? '' : bucket}/${manifestKey}` }
    : source;
}

/** Throws `source_not_found` for what cannot be listed; asks for one object only. */
async function assertListable(store: ObjectStore, bucket: string, prefix: string): Promise<void> {
  for await (const _ of store.list({ bucket, prefix })) break;
}
