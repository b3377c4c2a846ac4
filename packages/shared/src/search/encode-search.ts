import type { VectorIndex } from '../ports/vector-index.ts';
import { SightlineError } from '../runtime/errors.ts';
import type { SearchPlan } from './search-plan.ts';

/** A query's vectors, each absent where the query or the pack has none. */
export interface EncodedQuery {
  wordsInImageSpace?: ArrayLike<number> | undefined;
  wordsInTextSpace?: ArrayLike<number> | undefined;
  pictureInImageSpace?: ArrayLike<number> | undefined;
  /** Null when no encoder has told it yet. */
  logitScale: number | null;
  warnings: string[];
}

export interface EncodeSearchDeps {
  index: VectorIndex;
  /** Throws `encoder_unavailable` when nobody answers in time. `picture` is a data URL. */
  encodeQuery: (query: {
    tenant: string;
    words: string | null;
    picture: string | null;
    traceId: string;
    signal?: AbortSignal | undefined;
  }) => Promise<EncodedQuery>;
  /** The model's logit scale where an encoder has told it before, for queries that need no encoding. */
  logitScale: () => number | null;
}

/**
 * A query's vectors: from an encoder, or the stored one of the asset that stands for the picture (`itself`). When no encoder answers and
 * a leg is left that works without one, the query goes on `degraded`.
 */
export async function encodeSearch(
  deps: EncodeSearchDeps,
  context: { tenant: string; traceId: string; signal?: AbortSignal | undefined },
  plan: SearchPlan,
): Promise<{ encoded: EncodedQuery; degraded: boolean; warnings: string[]; itself: string | null }> {
  const itself = plan.picture && 'assetId' in plan.picture ? plan.picture.assetId : null;
  const stored = itself ? await storedPicture(deps.index, context.tenant, itself) : undefined;
  const picture = plan.picture && 'data' in plan.picture ? plan.picture.data : null;
  const nothing: EncodedQuery = { logitScale: deps.logitScale(), warnings: [] };
  const needsWords = plan.legs.includes('words') || plan.legs.includes('text');
  if (!needsWords && !picture)
    return { encoded: { ...nothing, pictureInImageSpace: stored }, degraded: false, warnings: plan.warnings, itself };
  try {
    const encoded = await deps.encodeQuery({ ...context, words: needsWords ? plan.words : null, picture });
    const merged = { ...encoded, pictureInImageSpace: stored ?? encoded.pictureInImageSpace };
    return { encoded: merged, degraded: false, warnings: [...plan.warnings, ...encoded.warnings.map(explainWarning)], itself };
  } catch (error) {
    const isDown =
      error instanceof SightlineError && (error.code === 'encoder_unavailable' || error.code === 'queue_unavailable');
    const canGoOn = plan.legs.includes('keywords') || stored !== undefined;
    if (!isDown || !canGoOn) throw error;
    const searched = stored ? 'the stored picture and the keywords alone were searched' : 'the keywords alone were searched';
    return {
      encoded: { ...nothing, pictureInImageSpace: stored },
      degraded: true,
      warnings: [...plan.warnings, `degraded: no encoder answered in time; ${searched}.`],
      itself,
    };
  }
}

const ENCODER_WARNINGS: Record<string, string> = {
  query_truncated: 'the words are longer than the encoder reads; it took their beginning.',
  language_not_supported:
    "the encoder's visual space does not know the words' language; they were searched in texts and keywords only.",
};

/** A warning is a code, a colon, and what it means. */
function explainWarning(code: string): string {
  const meaning = ENCODER_WARNINGS[code];
  return meaning ? `${code}: ${meaning}` : code;
}

async function storedPicture(index: VectorIndex, tenant: string, assetId: string): Promise<Float32Array> {
  const point = (await index.get(tenant, [assetId], { withVectors: true })).get(assetId);
  if (!point || point.deleted) throw new SightlineError('asset_not_found');
  if (!point.vectors?.image) throw new SightlineError('request_invalid', 'image.asset_id: that asset is not a picture.');
  return point.vectors.image;
}
