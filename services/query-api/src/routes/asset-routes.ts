import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import {
  assetImageQuery,
  assetParams,
  assetQuery,
  assetView,
  problem,
  removal,
  type AssetView,
} from '@sightline/shared/contracts/http';
import type { AssetPoint, IndexSpec } from '@sightline/shared/ports/vector-index';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { tenantOf } from '../access.ts';
import { acrossCutOver } from '../core/across-cut-over.ts';
import { removeAsset, type RemoveDeps } from '../core/remove.ts';
import type { Thumbnails } from '../core/thumbnails.ts';

export interface AssetRouteDeps {
  /** For the version of the index that serves now. */
  removal: () => RemoveDeps;
  thumbnails: Thumbnails;
}

export function assetRoutes(app: FastifyInstance, deps: AssetRouteDeps): void {
  const routes = app.withTypeProvider<ZodTypeProvider>();

  routes.get(
    '/v1/assets/:asset_id',
    {
      config: { access: 'read' },
      schema: {
        summary: 'One indexed asset',
        tags: ['assets'],
        params: assetParams,
        querystring: assetQuery,
        response: { 200: assetView, default: problem },
      },
    },
    async (request) => {
      const { asset_id: assetId } = request.params;
      const withVectors = request.query.with_vectors === 'true' || request.query.with_vectors === '1';
      const { index } = deps.removal();
      const point = (await index.get(tenantOf(request), [assetId], { withVectors })).get(assetId);
      if (!point || point.deleted) throw new SightlineError('asset_not_found');
      return toAssetView(point, index.spec, withVectors);
    },
  );

  routes.get(
    '/v1/assets/:asset_id/image',
    {
      config: { access: 'read' },
      schema: {
        summary: "An asset's picture, upright, as WebP",
        description: 'At most `width` pixels wide and high, rounded up to the next stored size; 1536 at most.',
        tags: ['assets'],
        params: assetParams,
        querystring: assetImageQuery,
        produces: ['image/webp'],
        response: { 200: z.any().meta({ description: 'image/webp' }), default: problem },
      },
    },
    async (request, reply) => {
      const { tag, read } = await deps.thumbnails.find(tenantOf(request), request.params.asset_id, request.query.width);
      const etag = `"${tag.split('/').at(-1)}"`;
      void reply.headers({
        etag,
        'cache-control': 'private, no-cache',
        'content-security-policy': "default-src 'none'; sandbox",
      });
      if (request.headers['if-none-match'] === etag) return reply.code(304).send();
      return reply
        .header('content-type', 'image/webp')
        .serializer(asItIs)
        .send(await read());
    },
  );

  routes.delete(
    '/v1/assets/:asset_id',
    {
      config: { access: 'ingest', budget: 'ingest' },
      schema: {
        summary: 'Remove an asset',
        description: 'From the index and the stored thumbnails; its source is not touched. It stays away until its bytes change.',
        tags: ['assets'],
        params: assetParams,
        response: { 200: removal, default: problem },
      },
    },
    (request) =>
      acrossCutOver(deps.removal, (removal) =>
        removeAsset(removal, { tenant: tenantOf(request), traceId: request.id }, request.params.asset_id),
      ),
  );
}

/** Bytes are no JSON: the schema's serializer is passed by. */
function asItIs(payload: unknown): string {
  return payload as string;
}

function toAssetView(point: AssetPoint, spec: IndexSpec, withVectors: boolean): AssetView {
  const { image, text } = point.vectors ?? {};
  return {
    asset_id: point.assetId,
    kind: point.kind,
    object: point.object ? { bucket: point.object.bucket, key: point.object.key, etag: point.object.eTag } : null,
    sha256: point.sha256,
    size_bytes: point.sizeBytes,
    width_px: point.widthPx,
    height_px: point.heightPx,
    records: point.records.map(({ itemId, title, text: passage, attributes }) => ({
      item_id: itemId,
      title,
      text: passage,
      attributes,
    })),
    passage_no: point.passageNo,
    has_image: point.hasImage,
    has_text: point.hasText,
    image_version: point.imageVersion,
    record_version: point.recordVersion,
    indexed_at: new Date(point.indexedAt).toISOString(),
    encoder: { image: spec.image.fingerprint, text: spec.text.fingerprint },
    ...(withVectors ? { vectors: { ...(image ? { image: [...image] } : {}), ...(text ? { text: [...text] } : {}) } } : {}),
  };
}
