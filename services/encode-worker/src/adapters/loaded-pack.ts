import type { IndexSpec } from '@sightline/shared/ports/vector-index';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { EncoderPack } from '../core/encoder-pack.ts';
import type { ViewLayout } from '@sightline/shared/pictures/picture-view';
import type { GraphKey } from './encoder-inputs.ts';
import type { GraphFacts, LoadRequest } from './encoder-protocol.ts';

/** What the encoder process is to load for a pack. */
export function loadRequest(
  pack: EncoderPack,
  how: Pick<LoadRequest, 'threads' | 'executionProviders' | 'cudaDevice'>,
): LoadRequest {
  const graphs: LoadRequest['graphs'] = [
    { key: 'vision', file: pack.vision.file, pooling: null, padId: 0 },
    { key: 'imageText', file: pack.imageText.graph.file, pooling: null, padId: pack.imageText.padId },
  ];
  if (pack.text !== pack.imageText)
    graphs.push({ key: 'text', file: pack.text.graph.file, pooling: pack.text.pooling, padId: pack.text.padId });
  return {
    graphs,
    input: pack.plan.input,
    normalisation: { rescaleFactor: pack.plan.rescaleFactor, mean: pack.plan.mean, std: pack.plan.std },
    ...how,
  };
}

/** Errors: `pack_invalid` when the graphs do not fit each other, the preprocessor or what sightline.json says. */
export function indexSpec(pack: EncoderPack, graphs: Map<GraphKey, GraphFacts>, layouts: ViewLayout[]): IndexSpec {
  const dimensions = (key: GraphKey) => graphs.get(key)!.dimensions;
  const [vision, words] = [dimensions('vision'), dimensions('imageText')];
  if (vision !== words)
    throw new SightlineError('pack_invalid', `Pictures get ${vision} dimensions and words ${words}: they share no space.`);
  const declared = pack.declaredDimension;
  if (declared && declared !== vision)
    throw new SightlineError('pack_invalid', `sightline.json says ${declared} dimensions, the graph gives ${vision}.`);
  const fixed = graphs.get('vision')!.fixedHeightPx;
  if (fixed && fixed !== pack.plan.input.heightPx)
    throw new SightlineError(
      'pack_invalid',
      `The graph takes ${fixed} pixels, the preprocessor makes ${pack.plan.input.heightPx}.`,
    );
  if (fixed && pack.multiScale?.interpolates_positions)
    throw new SightlineError(
      'pack_invalid',
      'sightline.json says that the graph interpolates positions; its input size is fixed.',
    );
  const scales = pack.multiScale?.fuse === 'concat' ? layouts.length : 1;
  return {
    image: { fingerprint: pack.fingerprints.image, dimensions: vision * scales },
    text: {
      fingerprint: pack.fingerprints.text,
      dimensions: pack.text === pack.imageText ? words : dimensions('text'),
    },
  };
}
