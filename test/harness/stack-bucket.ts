import { DeleteObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { pictureAssetId, DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import type { Source } from '@sightline/shared/contracts/records';
import { tinyJpeg } from './tiny-pictures.ts';

const PUTS_AT_ONCE = 16;
/** Every so manieth picture has the bytes of the one before it: the same content under two keys. */
const TWIN_EVERY = 50;

/** A bucket of a test's own. */
export class StackBucket {
  readonly name: string;
  readonly #client: S3Client;
  readonly #seed: number;
  #pictures = 0;

  /** `seed` makes its pictures others than those of another bucket. */
  constructor(client: S3Client, name: string, seed: number) {
    this.#client = client;
    this.name = name;
    this.#seed = seed;
  }

  get source(): Source {
    return { type: 'prefix', bucket: this.name, prefix: 'pictures/' };
  }

  get manifest(): Source {
    return { type: 'manifest', uri: `s3://${this.name}/pictures/manifest.jsonl` };
  }

  /** Puts `count` further pictures, one in fifty a twin of another; answers their keys. */
  async putPictures(count: number): Promise<string[]> {
    const numbers = Array.from({ length: count }, (_, n) => this.#pictures + n);
    this.#pictures += count;
    const keys: string[] = [];
    for (let from = 0; from < count; from += PUTS_AT_ONCE) {
      keys.push(
        ...(await Promise.all(
          numbers.slice(from, from + PUTS_AT_ONCE).map(async (number) => {
            const content = number % TWIN_EVERY === TWIN_EVERY - 1 ? number - 1 : number;
            return this.put(pictureKey(number), await this.picture(content));
          }),
        )),
      );
    }
    return keys;
  }

  /** The bytes of a picture of this bucket. */
  picture(number: number): Promise<Buffer> {
    return tinyJpeg(this.#seed * 1_000_003 + number);
  }

  /** Records for the first `count` pictures, and one without a picture. */
  async putManifest(count: number): Promise<void> {
    const lines = Array.from({ length: count }, (_, n) => ({
      item_id: `item-${n}`,
      title: `Part number ${n}`,
      text: `This is part ${n} of the catalogue, which fits part ${n + 1}.`,
      attributes: { size_mm: n },
      images: [pictureKey(n).slice('pictures/'.length)],
    }));
    const alone = { item_id: 'item-alone', title: 'A record without a picture', text: 'It is found by its words.', images: [] };
    const text = [...lines, alone].map((line) => JSON.stringify(line)).join('\n');
    await this.put('pictures/manifest.jsonl', Buffer.from(text));
  }

  async put(key: string, bytes: Uint8Array): Promise<string> {
    await this.#client.send(new PutObjectCommand({ Bucket: this.name, Key: key, Body: bytes }));
    return key;
  }

  async delete(key: string): Promise<void> {
    await this.#client.send(new DeleteObjectCommand({ Bucket: this.name, Key: key }));
  }

  assetId(key: string): string {
    return pictureAssetId(DEFAULT_TENANT, this.name, key);
  }
}

export function pictureKey(number: number): string {
  return `pictures/${String(number).padStart(6, '0')}.jpg`;
}
