/** Pictures of an export, each once, as the model was shown them. */
import { createHash } from 'node:crypto';
import { SharpLetterbox } from '@sightline/generate-worker/adapters/sharp-letterbox';
import type { ExamplePicture } from '@sightline/generate-worker/core/training/llava-example';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { ApiError, type ApiClient } from './api-client.ts';
import type { LlavaSetWriter } from './llava-set.ts';
import type { Patience } from './patience.ts';

export interface ReadPicture {
  file: string;
  /** Of the bytes as stored. */
  sha256: string;
}

export class PictureReader {
  readonly #client: ApiClient;
  readonly #writer: LlavaSetWriter;
  readonly #patience: Patience;
  readonly #letterboxes = new Map<number, SharpLetterbox>();
  /** Many prompts show the same pictures. */
  readonly #known = new Map<string, ReadPicture>();

  constructor(client: ApiClient, writer: LlavaSetWriter, patience: Patience) {
    this.#client = client;
    this.#writer = writer;
    this.#patience = patience;
  }

  /** Its file and the hash of its bytes as stored; the code of why it is not to be had. */
  async read(picture: ExamplePicture, sidePx: number): Promise<ReadPicture | string> {
    const { bucket, key, e_tag: eTag } = picture.object;
    const same = JSON.stringify([bucket, key, eTag, sidePx]);
    const read = this.#known.get(same) ?? (await this.#read(picture, sidePx));
    if (typeof read !== 'string') this.#known.set(same, read);
    return read;
  }

  async #read({ href }: ExamplePicture, sidePx: number): Promise<ReadPicture | string> {
    const letterbox = this.#letterboxes.get(sidePx) ?? new SharpLetterbox(sidePx);
    this.#letterboxes.set(sidePx, letterbox);
    try {
      const { bytes } = await this.#patience.ask((signal) => this.#client.picture(href, { signal }));
      const file = await this.#writer.addPicture(await letterbox.letterbox(bytes));
      return { file, sha256: createHash('sha256').update(bytes).digest('hex') };
    } catch (error) {
      const isTold = error instanceof ApiError || error instanceof SightlineError;
      if (isTold && (error.code.startsWith('picture_') || GONE.has(error.code))) return error.code;
      throw error;
    }
  }
}

const GONE: ReadonlySet<string> = new Set([
  'object_changed',
  'object_forbidden',
  'object_not_found',
  'question_not_found',
  'question_image_not_found',
]);
