import type { IndexSpec } from '@sightline/shared/ports/vector-index';
import type { Lane } from '@sightline/shared/contracts/jobs';
import type { DecodedPicture } from '@sightline/shared/pictures/decoded-picture';

export interface EncodedText {
  vector: Float32Array;
  /** True when the text was longer than the encoder takes and was cut. */
  truncated: boolean;
}

/** An encode that failed for one input alone; its neighbours are not affected. */
export type Outcome<T> = { ok: true; value: T } | { ok: false; error: Error };

/**
 * A loaded and proven encoder pack, computing in its own process. Interactive calls overtake bulk ones: they wait behind at
 * most one batch in progress. All vectors are L2-normalised.
 */
export interface Encoder {
  /** Fingerprints and dimensions of both spaces. */
  readonly spec: IndexSpec;
  readonly packName: string;
  /** CLIP's learned temperature as a multiplier (exp of the logit scale), for the alignment softmax. */
  readonly logitScale: number;
  /** ISO 639-1 codes the visual leg understands, or null when the pack does not say. */
  readonly languages: string[] | null;
  /** Bytes to pixels as the pack's preprocessor says. Errors: the picture_* codes. Runs on libvips' threads, not the encoder. */
  decode(bytes: Uint8Array): Promise<DecodedPicture>;
  encodePictures(pictures: DecodedPicture[], options: { lane: Lane; signal?: AbortSignal }): Promise<Outcome<Float32Array>[]>;
  encodeTexts(
    texts: string[],
    options: { space: 'image' | 'text'; purpose: 'query' | 'passage'; lane: Lane; signal?: AbortSignal },
  ): Promise<EncodedText[]>;
  /** Cuts a text into passages that the text encoder takes whole, at sentence ends where it can. At least one for non-empty text. */
  splitPassages(text: string): string[];
  close(): Promise<void>;
}
