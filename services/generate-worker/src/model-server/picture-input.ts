import { SharpDecoder } from '@sightline/shared/adapters/sharp-decoder';
import { bytesOfDataUrl } from '@sightline/shared/pictures/picture-data-url';
import { viewLayouts } from '@sightline/shared/pictures/picture-view';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { ChatRefused } from './chat-request.ts';
import type { ModelPack } from './model-pack.ts';

const LIMITS = { maxPictureBytes: 24 * 1024 ** 2, maxPicturePixels: 20_000_000, maxAspect: 400, timeoutSeconds: 20 };

/** Makes a model's input of pictures that came as data URLs: no address is ever called. */
export class PictureInput {
  readonly #decoder: SharpDecoder;
  readonly #most: number;

  constructor({ plan, maxImages }: Pick<ModelPack, 'plan' | 'maxImages'>) {
    this.#decoder = new SharpDecoder(plan, viewLayouts(plan, null), LIMITS);
    this.#most = maxImages;
  }

  /** RGB, 8 bits, interleaved, of the model's square each. Error: `ChatRefused`, with the picture's code. */
  async read(urls: string[]): Promise<Uint8Array[]> {
    if (urls.length > this.#most)
      throw new ChatRefused('too_many_images', `At most ${this.#most} pictures are taken in a request, and ${urls.length} came.`);
    try {
      return await Promise.all(
        urls.map(async (url) => (await this.#decoder.decode(bytesOfDataUrl(url, LIMITS.maxPictureBytes))).pixels),
      );
    } catch (error) {
      if (error instanceof SightlineError && error.code === 'request_invalid')
        throw new ChatRefused('invalid_request_error', 'Pictures are taken as base64 data URLs.');
      if (error instanceof SightlineError && error.code !== 'internal') throw new ChatRefused(error.code, error.message);
      throw error;
    }
  }
}
