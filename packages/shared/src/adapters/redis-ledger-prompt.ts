import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { keptPrompt, type KeptPrompt } from '../contracts/feedback.ts';

/** Deflated JSON in base64: prompts are most of what answers take of Redis' memory. */
export function packedPrompt(prompt: KeptPrompt): string {
  return deflateRawSync(JSON.stringify(prompt)).toString('base64');
}

export function unpackedPrompt(packed: string): KeptPrompt {
  return keptPrompt.parse(JSON.parse(inflateRawSync(Buffer.from(packed, 'base64')).toString()));
}
