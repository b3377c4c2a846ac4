import { expect, test } from '@jest/globals';
import { SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import { encodeQueryResult, type JobData } from '@sightline/shared/contracts/jobs';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { HashEncoder, hashVector } from '../testing/hash-encoder.ts';
import { encodeQuery } from './encode-query.ts';

const FINGERPRINTS = { image: 'hash-image', text: 'hash-text' };
const signal = new AbortController().signal;

function run(job: Partial<JobData<'encode-query'>>) {
  const store = {
    get: async ({ bucket, key }: { bucket: string; key: string }) => {
      if (bucket !== SYSTEM_BUCKET || key !== 'queries/t/1') throw new SightlineError('object_not_found');
      const bytes = Buffer.from('picture');
      return { info: { bucket, key, eTag: 'e', sizeBytes: bytes.length, modifiedAt: new Date(0) }, bytes };
    },
  };
  const deps = { store, encoder: new HashEncoder(), now: () => 1_000, maxPictureBytes: 100 };
  return encodeQuery(deps, { tenant: 't', fingerprints: FINGERPRINTS, traceId: 'x', expiresAt: 2_000, ...job }, signal);
}

test('words and picture become vectors in their spaces, and the result is what the contract says', async () => {
  const result = await run({ query: 'red shoes', pictureKey: 'queries/t/1' });
  expect(encodeQueryResult.parse(JSON.parse(JSON.stringify(result)))).toMatchObject({ logitScale: 100, warnings: [] });
  expect(result.pictureInImageSpace).toEqual([...hashVector(Buffer.from('picture'))]);
  expect(result.wordsInTextSpace).toEqual([...hashVector(Buffer.from('red shoes'))]);
  expect(result.wordsInImageSpace).toHaveLength(16);
});

test('a text is encoded as the index holds it', async () => {
  const result = await run({ passage: 'red shoes' });
  expect(encodeQueryResult.parse(JSON.parse(JSON.stringify(result))).passageInTextSpace).toEqual([
    ...hashVector(Buffer.from('red shoes')),
  ]);
  expect(result.wordsInTextSpace).toBeUndefined();
});

test('words of another language leave the visual space out, with a warning', async () => {
  const result = await run({ query: '红色的鞋' });
  expect(result).toMatchObject({ warnings: ['language_not_supported'] });
  expect(result.wordsInImageSpace).toBeUndefined();
  expect(result.wordsInTextSpace).toHaveLength(16);
});

test('words that were cut carry a warning', async () => {
  expect((await run({ query: 'long '.repeat(60) })).warnings).toEqual(['query_truncated']);
});

test('a picture alone needs no words, blank words are none', async () => {
  const result = await run({ query: '  ', pictureKey: 'queries/t/1' });
  expect(Object.keys(result).toSorted()).toEqual(['encodeMs', 'logitScale', 'pictureInImageSpace', 'warnings']);
});

test('what nobody waits for, or expired in the store is refused by its code, and what is of another pack handed back', async () => {
  await expect(run({ query: 'a', expiresAt: 999 })).rejects.toMatchObject({ code: 'encoder_unavailable' });
  await expect(run({ query: 'a', fingerprints: { image: 'x', text: 'y' } })).rejects.toMatchObject({
    code: 'job_handed_back',
  });
  await expect(run({ pictureKey: 'queries/t/2' })).rejects.toMatchObject({ code: 'object_not_found' });
});
