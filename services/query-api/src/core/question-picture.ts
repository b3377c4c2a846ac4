import type { ParsedQuestionRequest } from '@sightline/shared/contracts/question-http';
import { bytesOfDataUrl } from '@sightline/shared/pictures/picture-data-url';
import { detectPictureFormat } from '@sightline/shared/pictures/picture-format';
import { readPictureHeader } from '@sightline/shared/pictures/picture-header';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { SightlineError } from '@sightline/shared/runtime/errors';

export interface QuestionPictureDeps {
  /** The version that serves now. */
  index: () => Pick<VectorIndex, 'get'>;
  /** By the guarded client: the address is a stranger's. */
  fetchPicture: (url: string, options: { maxBytes: number; signal?: AbortSignal | undefined }) => Promise<Uint8Array>;
  maxPictureBytes: number;
}

/** The picture that a question brings, or points to. */
export type QuestionPicture = { bytes: Uint8Array } | { assetId: string };

/**
 * What `image` stands for. Its bytes are looked at as far as that needs no decoding, so that a file that is no picture is refused
 * while its sender still waits. Errors: the picture_* codes, `request_invalid`, `asset_not_found`, those of `fetchPicture`.
 */
export async function readQuestionPicture(
  { index, fetchPicture, maxPictureBytes }: QuestionPictureDeps,
  image: NonNullable<ParsedQuestionRequest['image']>,
  asker: { tenant: string; signal?: AbortSignal | undefined },
): Promise<QuestionPicture> {
  if ('asset_id' in image) return assetPicture(index(), asker.tenant, image.asset_id);
  const bytes =
    'data' in image
      ? bytesOfDataUrl(image.data, maxPictureBytes)
      : await fetchPicture(image.url, { maxBytes: maxPictureBytes, signal: asker.signal });
  readPictureHeader(bytes, detectPictureFormat(bytes));
  return { bytes };
}

async function assetPicture(index: Pick<VectorIndex, 'get'>, tenant: string, assetId: string): Promise<QuestionPicture> {
  const point = (await index.get(tenant, [assetId])).get(assetId);
  if (!point || point.deleted) throw new SightlineError('asset_not_found');
  if (!point.hasImage) throw new SightlineError('request_invalid', 'image.asset_id: that asset is not a picture.');
  return { assetId };
}
