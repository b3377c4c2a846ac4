import { expect, test } from '@jest/globals';
import type { VectorIndex } from '../src/ports/vector-index.ts';
import { analyse, analyseQuery } from '../src/retrieval/analyser.ts';
import {
  assetIdOf,
  imageVector,
  itemRecord,
  passage,
  picture,
  pictureRecord,
  TENANT,
  textVector,
} from './vector-index-points.ts';

function ids(...keys: string[]): string[] {
  return keys.map((key) => assetIdOf(key));
}

/** The searching part of the contract: scores, ties, keywords. */
export function describeIndexSearch(name: string, index: () => VectorIndex): void {
  const nearest = async (vector: Float32Array, limit = 10) =>
    (await index().search(TENANT, undefined, [{ space: 'image', vector, limit }]))[0] ?? [];
  const withWords = async (query: string, limit = 10) => {
    const [hits = []] = await index().search(TENANT, undefined, [{ space: 'keywords', keywords: analyseQuery(query), limit }]);
    return hits.map((hit) => hit.assetId);
  };
  /** Pictures of one record each, by key, with that text. */
  const writeTexts = (texts: Record<string, string>) =>
    index().writeRecords(Object.entries(texts).map(([key, text]) => pictureRecord(key, [itemRecord(key, text)])));

  test(`${name}: the vector legs give cosines, best first`, async () => {
    await index().writePictures([
      picture('same', { vector: imageVector(1, 1) }),
      picture('near', { vector: imageVector(1) }),
      picture('far', { vector: imageVector(0, 0, 1) }),
      picture('opposite', { vector: imageVector(-1, -1) }),
    ]);
    const hits = await nearest(imageVector(1, 1));
    expect(hits.map((hit) => hit.assetId)).toEqual(ids('same', 'near', 'far', 'opposite'));
    [1, Math.SQRT1_2, 0, -1].forEach((score, i) => expect(hits[i]?.score).toBeCloseTo(score, 5));
    expect((await nearest(imageVector(1, 1), 2)).map((hit) => hit.assetId)).toEqual(ids('same', 'near'));
    expect(await nearest(imageVector(1, 1), 0)).toEqual([]);
  });

  test(`${name}: a cosine never leaves [-1, 1], whatever the rounding`, async () => {
    const vectors = Array.from({ length: 100 }, (_, i) => imageVector(1, i / 7, 1 / (i + 1), Math.sin(i), i % 3));
    await index().writePictures(vectors.map((vector, i) => picture(`key-${i}`, { vector })));
    for (const vector of vectors) {
      const legs = await index().search(TENANT, undefined, [
        { space: 'image', vector, limit: 1 },
        { space: 'image', vector: vector.map((x) => -x), limit: 100 },
      ]);
      for (const { score } of legs.flat()) expect(Math.abs(score)).toBeLessThanOrEqual(1);
    }
  });

  test(`${name}: lengths do not matter, neither the query's nor the stored vectors'`, async () => {
    await index().writePictures([
      picture('long', { vector: imageVector(1, 1).map((x) => x * 40) }),
      picture('short', { vector: imageVector(1).map((x) => x / 9) }),
    ]);
    const hits = await nearest(imageVector(1, 1).map((x) => x * 7));
    expect(hits.map((hit) => hit.assetId)).toEqual(ids('long', 'short'));
    expect(hits[0]?.score).toBeCloseTo(1, 5);
    const stored = (await index().get(TENANT, ids('long'), { withVectors: true })).get(assetIdOf('long'))?.vectors?.image ?? [];
    imageVector(1, 1).forEach((x, i) => expect(stored[i]).toBeCloseTo(x, 6));
  });

  test(`${name}: each leg asks its own space, all in one call`, async () => {
    await index().writePictures([picture('a', { vector: imageVector(1) }), picture('b', { vector: imageVector(0, 1) })]);
    await index().writeRecords([
      pictureRecord('b', [itemRecord('b', 'lamp')], { vector: textVector(1) }),
      passage(itemRecord('c', 'lamp lamp lamp'), 1, { vector: textVector(1, 1) }),
    ]);
    const second = passage(itemRecord('c'), 1).assetId;
    const legs = await index().search(TENANT, undefined, [
      { space: 'image', vector: imageVector(1, 0.1), limit: 9 },
      { space: 'text', vector: textVector(0, 1), limit: 9 },
      { space: 'keywords', keywords: analyseQuery('lamps'), limit: 9 },
      { space: 'image', vector: imageVector(0, 1), limit: 1 },
    ]);
    expect(legs.map((leg) => leg.map((hit) => hit.assetId))).toEqual([
      ids('a', 'b'),
      [second, ...ids('b')],
      [second, ...ids('b')],
      ids('b'),
    ]);
  });

  test(`${name}: equal scores come in ascending order of id, also where the limit cuts them`, async () => {
    const keys = Array.from({ length: 60 }, (_, i) => `tie-${i}`);
    await index().writePictures([
      ...keys.map((key) => picture(key, { vector: imageVector(1) })),
      picture('best', { vector: imageVector(1, 0.1) }),
    ]);
    const expected = ids(...keys).toSorted();
    for (const limit of [2, 11, 31, 61]) {
      const hits = await nearest(imageVector(1, 0.1), limit);
      expect(hits.map((hit) => hit.assetId)).toEqual([assetIdOf('best'), ...expected.slice(0, limit - 1)]);
    }
    await writeTexts(Object.fromEntries(keys.map((key) => [key, 'lamp'])));
    expect(await withWords('lamp', 7)).toEqual(expected.slice(0, 7));
  });

  test(`${name}: a write is found by the very next search`, async () => {
    for (let i = 0; i < 10; i++) {
      await index().writePictures([picture('moving', { imageVersion: i + 1, vector: imageVector(1, i) })]);
      expect((await nearest(imageVector(1, i)))[0]?.score).toBeCloseTo(1, 5);
    }
  });

  test(`${name}: words are found by their stem, Chinese words by two characters and by one`, async () => {
    await writeTexts({ shoe: 'Running shoes for men', board: 'AM4主板，带散热器', slide: '红色滑板', cat: '黑猫' });
    expect(await withWords('shoe')).toEqual(ids('shoe'));
    expect(await withWords('RUN')).toEqual(ids('shoe'));
    expect(await withWords('主板')).toEqual(ids('board'));
    expect((await withWords('板')).toSorted()).toEqual(ids('board', 'slide').toSorted());
    expect(await withWords('猫')).toEqual(ids('cat'));
    expect(await withWords('显卡')).toEqual([]);
  });

  test(`${name}: codes are found whole, and before their like`, async () => {
    await writeTexts({
      am4: 'Cooler for AM4/AM5 sockets',
      lga: 'Cooler for LGA1700',
      exact: 'Valve SKU-1234/AB with a long text about valves, seals, springs, and more springs',
      like: 'Valve SKU-1234/AC',
      other: 'Valve SKU-9999/AB',
      screw: 'Screw M3x8, 12.5mm',
    });
    expect(await withWords('AM4')).toEqual(ids('am4'));
    expect(await withWords('am5')).toEqual(ids('am4'));
    expect(await withWords('LGA1700')).toEqual(ids('lga'));
    expect((await withWords('sku-1234/ab'))[0]).toBe(assetIdOf('exact'));
    expect((await withWords('SKU-9999/AB'))[0]).toBe(assetIdOf('other'));
    expect(await withWords('12.5 mm')).toEqual(ids('screw'));
    expect(await withWords('AM')).toEqual([]);
  });

  test(`${name}: whatever a user types is a query, never an error`, async () => {
    await writeTexts({ a: 'does the cooler fit AM4 a-b' });
    expect(await withWords('fit AM4?')).toEqual(ids('a'));
    expect(await withWords('a-b')).toEqual(ids('a'));
    for (const query of [
      '"',
      "'",
      '*',
      'a*',
      '(',
      'NEAR(',
      'words:cooler',
      '^cooler',
      '-',
      'AND',
      'OR NOT',
      '\u0000',
      '_',
      '{}',
      '%',
      '🙂',
      '\ud800',
      'é'.repeat(300),
    ]) {
      await withWords(query);
      await index().search(TENANT, undefined, [{ space: 'keywords', keywords: [query], limit: 3 }]);
    }
    const [hits] = await index().search(TENANT, undefined, [{ space: 'keywords', keywords: [], limit: 3 }]);
    expect(hits).toEqual([]);
  });

  test(`${name}: any token is found by itself and by no other`, async () => {
    const tokens = ['a_b', 'a-b', 'a', 'b', 'a/b', '_', '_2d', 'a_2db', 'é', 'A', '主', '"', '猫\u{20000}', '1.5', '15'];
    await index().writeRecords(tokens.map((token) => pictureRecord(token, [itemRecord(token)], { keywords: [token] })));
    for (const token of tokens) {
      const [hits = []] = await index().search(TENANT, undefined, [{ space: 'keywords', keywords: [token], limit: 50 }]);
      expect(hits.map((hit) => hit.assetId)).toEqual(ids(token));
    }
  });

  test(`${name}: BM25: a rarer word and a repeated word weigh more, scores are positive`, async () => {
    const filler = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`filler-${i}`, 'chair with four legs']));
    await writeTexts({ ...filler, common: 'chair common words', rare: 'anvil common words', twice: 'anvil anvil words' });
    const [hits = []] = await index().search(TENANT, undefined, [
      { space: 'keywords', keywords: analyse('chair anvil'), limit: 50 },
    ]);
    expect(hits.slice(0, 2).map((hit) => hit.assetId)).toEqual(ids('twice', 'rare'));
    expect(hits).toHaveLength(33);
    for (const { score } of hits) expect(score).toBeGreaterThan(0);
  });

  test(`${name}: a query of thousands of words is answered`, async () => {
    await writeTexts({ a: 'word77 in a text' });
    expect(await withWords(Array.from({ length: 3_000 }, (_, i) => `word${i}`).join(' '))).toEqual(ids('a'));
  });
}
