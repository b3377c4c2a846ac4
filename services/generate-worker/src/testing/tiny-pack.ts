import { fileURLToPath } from 'node:url';

/** A pack with random weights and an adapter, made by tools/random-llava and tools/llava-pack: real in every part, and says nothing. */
export const TINY_PACK = fileURLToPath(new URL('./packs/tiny', import.meta.url));
/** Of its sightline.json and its adapter's. */
export const TINY_MODEL = 'tiny';
export const TINY_ADAPTER = 'tuned';
