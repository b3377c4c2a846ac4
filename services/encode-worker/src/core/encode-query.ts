import { SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import type { EncodeQueryResult, JobData } from '@sightline/shared/contracts/jobs';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import { SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import type { Encoder, EncodedText } from './encoder.ts';
import { speaks } from './query-language.ts';

export interface EncodeQueryDeps {
  store: Pick<ObjectStore, 'get'>;
  encoder: Encoder;
  now: () => number;
  maxPictureBytes: number;
}

const LANE = 'interactive';

/**
 * A query's words and picture, or an indexed text, as vectors. Warnings: `query_truncated` (an encoder took only the beginning of the words),
 * `language_not_supported` (the words are left out of the visual space).
 * Errors: picture_*, `object_not_found` (the picture has expired), `job_handed_back` (asked for another pack's
 * vectors), `encoder_unavailable` (also: nobody waits any more).
 */
export async function encodeQuery(
  { store, encoder, now, maxPictureBytes }: EncodeQueryDeps,
  job: JobData<'encode-query'>,
  signal: AbortSignal,
): Promise<EncodeQueryResult> {
  const startedAt = performance.now();
  if (now() > job.expiresAt) throw new SightlineError('encoder_unavailable', 'The query waited longer than its asker.');
  const { image, text } = encoder.spec;
  if (job.fingerprints.image !== image.fingerprint || job.fingerprints.text !== text.fingerprint) {
    throw new SightlineError('job_handed_back', `This worker serves the pack ${encoder.packName}.`);
  }
  const words = job.query?.trim() ? job.query : null;
  const isSpoken = words !== null && speaks(encoder.languages, words);
  const inSpace = async (space: 'image' | 'text', wanted: boolean): Promise<EncodedText | null> => {
    if (!wanted || words === null) return null;
    const [encoded] = await encoder.encodeTexts([words], { space, purpose: 'query', lane: LANE, signal });
    return encoded ?? null;
  };
  const asPassage = async (passage: string): Promise<Float32Array | null> => {
    const [encoded] = await encoder.encodeTexts([passage], { space: 'text', purpose: 'passage', lane: LANE, signal });
    return encoded?.vector ?? null;
  };
  const [inImage, inText, picture, passage] = await Promise.all([
    inSpace('image', isSpoken),
    inSpace('text', true),
    job.pictureKey === undefined ? null : encodePicture({ store, encoder, maxPictureBytes }, job.pictureKey, signal),
    job.passage === undefined ? null : asPassage(job.passage),
  ]);
  const warnings: string[] = [];
  if (words !== null && !isSpoken) warnings.push('language_not_supported');
  if (inImage?.truncated || inText?.truncated) warnings.push('query_truncated');
  return {
    ...(inImage && { wordsInImageSpace: [...inImage.vector] }),
    ...(inText && { wordsInTextSpace: [...inText.vector] }),
    ...(picture && { pictureInImageSpace: [...picture] }),
    ...(passage && { passageInTextSpace: [...passage] }),
    logitScale: encoder.logitScale,
    warnings,
    encodeMs: performance.now() - startedAt,
  };
}

async function encodePicture(
  { store, encoder, maxPictureBytes }: Pick<EncodeQueryDeps, 'store' | 'encoder' | 'maxPictureBytes'>,
  key: string,
  signal: AbortSignal,
): Promise<Float32Array> {
  const { bytes } = await store.get({ bucket: SYSTEM_BUCKET, key }, { maxBytes: maxPictureBytes, signal });
  const [outcome] = await encoder.encodePictures([await encoder.decode(bytes)], { lane: LANE, signal });
  if (!outcome) throw new SightlineError('encoder_failed', 'The encoder gave no answer for the picture.');
  if (!outcome.ok) throw toSightlineError(outcome.error);
  return outcome.value;
}
