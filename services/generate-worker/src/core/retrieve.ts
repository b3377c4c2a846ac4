import { searchRequest } from '@sightline/shared/contracts/http';
import { SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import type { Question } from '@sightline/shared/ports/question-ledger';
import { search } from '@sightline/shared/search/search';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { createHash } from 'node:crypto';
import type { AnswerDeps } from './answer-deps.ts';
import { placesOf } from './build-prompt.ts';
import { sourcesOf, type ReadyPicture, type Source, type SourcePicture } from './sources.ts';

export interface Retrieved {
  sources: Source[];
  /** Ready for the model. */
  questionPicture: ReadyPicture | null;
  pictures: Map<number, ReadyPicture>;
  /** Nothing is there that the question could be answered from: nothing relevant, nothing that passes its filter, no picture of its own. */
  noMatch: boolean;
  degraded: boolean;
  warnings: string[];
}

type RetrieveDeps = Pick<AnswerDeps, 'store' | 'version' | 'generator' | 'letterbox' | 'pictureSlots' | 'maxPictureBytes'>;

/**
 * A question's sources, by the same search that everybody uses, with the pictures that the model can be shown. A picture that
 * cannot be shown is left out with a warning; the question's own is what it is about, so its fault is the question's. Errors:
 * those of the search; the picture_* codes and `asset_not_found` of the question's picture.
 */
export async function retrieve(deps: RetrieveDeps, question: Question, signal: AbortSignal): Promise<Retrieved> {
  const { tenant, traceId, asked } = question;
  const version = deps.version();
  const own = await ownPicture(deps, question, signal);
  const request = searchRequest.parse({
    ...(asked.question.trim() === '' ? {} : { query: asked.question }),
    ...(own ? { image: own.image } : {}),
    ...(asked.filter ? { filter: asked.filter } : {}),
    mode: asked.mode,
    alpha: asked.alpha,
    limit: asked.k,
  });
  const found = await search(version.search, { tenant, traceId, signal }, request);
  // With a filter it is known what is asked about: the nearest of it are looked at. Else they are nonsense.
  const isFiltered = Object.keys(asked.filter ?? {}).length > 0;
  const isUseless = found.no_match && !isFiltered;
  const sources = isUseless ? [] : await sourcesOf(version.index, tenant, found.results);
  // Where there is nothing to look at at all, a model could only invent.
  const allowed = placesOf(deps.generator.profile, asked.maxImages);
  const noMatch = sources.length === 0 && (asked.picture === null || allowed === 0);
  // Half a search cannot say that there is nothing: the question waits for the whole one.
  if (noMatch && found.degraded) throw new SightlineError('encoder_unavailable');
  const warnings = [...found.warnings];
  if (found.no_match && !noMatch) warnings.push('nothing_matches: no source is relevant by its score.');

  const pictures = new Map<number, ReadyPicture>();
  const places = allowed - (own ? 1 : 0);
  for (const source of sources) {
    if (!source.picture || pictures.size >= places) continue;
    signal.throwIfAborted();
    const ready = await sourcePicture(deps, source, signal);
    if ('picture' in ready) pictures.set(source.n, ready.picture);
    else {
      warnings.push(ready.warning);
      source.picture = null;
    }
    if (ready.sha256) source.citation.seen = { ...source.citation.seen, sha256: ready.sha256 };
  }
  return { sources, questionPicture: own?.ready ?? null, pictures, noMatch, degraded: found.degraded, warnings };
}

async function ownPicture(
  deps: RetrieveDeps,
  { tenant, asked }: Question,
  signal: AbortSignal,
): Promise<{ image: { data: string } | { asset_id: string }; ready: ReadyPicture } | null> {
  const { picture } = asked;
  if (!picture) return null;
  if ('key' in picture) {
    const place = { bucket: SYSTEM_BUCKET, key: picture.key };
    const { ready, bytes } = await readyPicture(deps, place, {}, signal);
    return { image: { data: `data:image/unknown;base64,${bytes.toString('base64')}` }, ready };
  }
  const point = (await deps.version().index.get(tenant, [picture.assetId])).get(picture.assetId);
  if (!point || point.deleted || !point.object) throw new SightlineError('asset_not_found');
  const { bucket, key } = point.object;
  const { ready } = await readyPicture(deps, { bucket, key }, {}, signal);
  return { image: { asset_id: picture.assetId }, ready };
}

/** A picture and the bytes that it was made from. Many questions are worked at once, and each may have several large pictures. */
async function readyPicture(
  { store, letterbox, pictureSlots, maxPictureBytes }: RetrieveDeps,
  place: { bucket: string; key: string },
  condition: { ifMatch?: string },
  signal: AbortSignal,
): Promise<{ ready: ReadyPicture; bytes: Buffer }> {
  const giveBack = await pictureSlots.take(signal);
  try {
    const { info, bytes } = await store.get(place, { maxBytes: maxPictureBytes, ...condition, signal });
    return { ready: { object: { ...place, eTag: info.eTag }, shown: await letterbox.letterbox(bytes) }, bytes };
  } finally {
    giveBack();
  }
}

/** What may pass is thrown; a picture that is not to be had as it was indexed is left out. */
async function sourcePicture(
  deps: RetrieveDeps,
  { n, picture }: Source,
  signal: AbortSignal,
): Promise<{ picture: ReadyPicture; sha256: string } | { warning: string; sha256?: undefined }> {
  const { bucket, key, eTag }: SourcePicture = picture ?? { bucket: '', key: '', eTag: '' };
  try {
    const { ready, bytes } = await readyPicture(deps, { bucket, key }, { ifMatch: eTag }, signal);
    return { picture: ready, sha256: createHash('sha256').update(bytes).digest('hex') };
  } catch (error) {
    if (!(error instanceof SightlineError)) throw error;
    if (error.code === 'object_changed')
      return { warning: `picture_changed: the picture of source ${n} changes just now; it was not shown.` };
    if (error.retryable) throw error;
    return { warning: `picture_not_shown: the picture of source ${n} could not be shown (${error.code}).` };
  }
}
