import { expect, test } from '@jest/globals';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { KnownVectors } from './known-vectors.ts';

/** An index that answers when it is told to, and remembers what it was asked. */
function rig(held: Record<string, number> = {}) {
  const asked: { tenant: string; sha256s: string[] }[] = [];
  const answers: ((error?: Error) => void)[] = [];
  const index = {
    findImageVectors: (tenant: string, sha256s: string[]) => {
      asked.push({ tenant, sha256s });
      const found = sha256s.filter((sha256) => held[`${tenant} ${sha256}`] !== undefined);
      const value = new Map(
        found.map((sha256) => [sha256, { vector: Float32Array.of(held[`${tenant} ${sha256}`] ?? 0), widthPx: 1, heightPx: 1 }]),
      );
      return new Promise<typeof value>((resolve, reject) => answers.push((error) => (error ? reject(error) : resolve(value))));
    },
  };
  /** Lets the index answer its oldest question. */
  const answer = async (error?: Error) => {
    answers.shift()?.(error);
    await new Promise(setImmediate);
  };
  return { known: new KnownVectors(index), asked, answer };
}

test('a lone question goes out at once, and what comes meanwhile is asked together', async () => {
  const { known, asked, answer } = rig({ 't b': 2 });
  const finding = ['a', 'b', 'c', 'b'].map((sha256) => known.find('t', sha256));
  expect(asked).toEqual([{ tenant: 't', sha256s: ['a'] }]);
  await answer();
  expect(asked[1]).toEqual({ tenant: 't', sha256s: ['b', 'c'] });
  await answer();
  expect((await Promise.all(finding)).map((found) => found?.vector[0])).toEqual([undefined, 2, undefined, 2]);
  void known.find('t', 'd');
  expect(asked).toHaveLength(3);
});

test('tenants are never asked for together', async () => {
  const { known, asked, answer } = rig({ 't1 a': 1, 't2 a': 2 });
  const finding = ['t1', 't2', 't1'].map((tenant, i) => known.find(tenant, i === 2 ? 'b' : 'a'));
  for (let i = 0; i < 3; i++) await answer();
  expect(asked.map(({ tenant }) => tenant)).toEqual(['t1', 't2', 't1']);
  expect((await Promise.all(finding)).map((found) => found?.vector[0])).toEqual([1, 2, undefined]);
});

test('a question that fails fails those who asked it, and no others', async () => {
  const { known, answer } = rig({ 't b': 2 });
  const first = known.find('t', 'a').catch((error: unknown) => error);
  const second = known.find('t', 'b');
  await answer(new SightlineError('index_unavailable'));
  await answer();
  expect(await first).toMatchObject({ code: 'index_unavailable' });
  expect((await second)?.vector[0]).toBe(2);
});

test('more than can be asked at once is asked in turns', async () => {
  const { known, asked, answer } = rig();
  const finding = Array.from({ length: 400 }, (_, i) => known.find('t', `${i}`));
  for (let i = 0; i < 3; i++) await answer();
  await Promise.all(finding);
  expect(asked.map(({ sha256s }) => sha256s.length)).toEqual([1, 256, 143]);
});
