import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { indexView, searchResponse } from '@sightline/shared/contracts/http';
import { DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import { calibration as calibrationSchema, calibrationSetting } from '@sightline/shared/retrieval/relevance';
import { Backgrounds } from '@sightline/shared/search/backgrounds';
import { calibrationOf, judge, type LabelledQuery } from './core/calibrate.ts';
import type { CandidateDeps } from '@sightline/shared/search/find-candidates';
import { RecordKeywords } from '@sightline/shared/search/record-keywords';
import { openRig, type Rig } from './testing/query-api-rig.ts';
import { encodeText, encodeWordsInImageSpace, toySpec } from '@sightline/shared/testing/toy-encoder';

const THINGS = ['lamp', 'shoe', 'kettle', 'chair', 'pillow', 'clock', 'spoon', 'basket', 'ladder', 'mirror', 'carpet', 'bottle'];
const ABSENT = [
  'grand piano',
  'submarine',
  'giraffe',
  'wedding cake',
  'volcano',
  'tax form',
  'bagpipes',
  'coral reef',
  'oil rig',
  'tuning fork',
];
let rig: Rig;

beforeAll(async () => {
  rig = await openRig();
  for (const [i, thing] of THINGS.entries()) {
    const record = { itemId: thing, title: thing, text: `A ${thing} for the home.`, attributes: {} };
    await rig.addPicture(`${thing}.png`, [i / THINGS.length, 1 - i / THINGS.length, 0.5], [record]);
  }
});
afterAll(() => rig.close());

function deps(): CandidateDeps {
  const backgrounds = new Backgrounds(rig.index, Date.now);
  return {
    index: rig.index,
    encodeQuery: async ({ words }) => ({
      wordsInImageSpace: encodeWordsInImageSpace(words ?? ''),
      wordsInTextSpace: encodeText(words ?? ''),
      logitScale: 20,
      warnings: [],
    }),
    logitScale: () => 20,
    recordKeywords: new RecordKeywords(),
    background: (tenant, space) => backgrounds.sample(tenant, space),
    nowMs: () => performance.now(),
  };
}

const query = (words: string, relevant: string[], i: number): LabelledQuery => ({
  kind: 'words',
  words,
  picture: null,
  relevant,
  split: i % 2 === 0 ? 'calibration' : 'test',
});

test('a collection that is calibrated tells what it holds from what it does not', async () => {
  const queries = [
    ...THINGS.map((thing, i) => query(`${thing} for me`, [thing], i)),
    ...ABSENT.map((words, i) => query(words, [], i)),
  ];
  const judged = await judge(deps(), DEFAULT_TENANT, queries, () => undefined);
  const about = { spec: toySpec, assets: THINGS.length, fittedAt: new Date(0), labels: 'test' };
  const { calibration, unfitted } = calibrationOf(judged, about);
  expect(calibrationSchema.parse(JSON.parse(JSON.stringify(calibration)))).toEqual(calibration);
  expect(unfitted).toEqual(['picture', 'both', 'keywords']);
  expect(calibration.held_out['words']).toEqual({ present: 6, absent: 5, false_positive_rate: 0, false_negative_rate: 0 });

  await rig.ledger.putSetting(calibrationSetting(calibration.fingerprints, DEFAULT_TENANT), JSON.stringify(calibration));
  const ask = async (words: string) => {
    const response = await rig.app.inject({
      method: 'POST',
      url: '/v1/search',
      headers: { host: '127.0.0.1:8080' },
      payload: { query: words },
    });
    return searchResponse.parse(response.json());
  };
  const clock = await ask('a clock');
  expect(clock).toMatchObject({ no_match: false, warnings: [] });
  expect(clock.results[0]?.item_id).toBe('clock');
  expect((await ask('a locomotive')).no_match).toBe(true);
  const index = indexView.parse(
    (await rig.app.inject({ method: 'GET', url: '/v1/index', headers: { host: '127.0.0.1:8080' } })).json(),
  );
  expect(index.calibration).toMatchObject({ fitted: true, thresholds: { words: calibration.kinds.words.threshold } });
});

test('an item taken out of a query counts as if it were not there', async () => {
  const [alone] = await judge(deps(), DEFAULT_TENANT, [{ ...query('a clock', [], 0), without: ['clock'] }], () => undefined);
  expect(alone?.present).toBe(false);
  const [whole] = await judge(deps(), DEFAULT_TENANT, [query('a clock', ['clock'], 0)], () => undefined);
  expect(whole?.candidates[0]?.relevant).toBe(true);
  expect(alone?.candidates.length).toBeGreaterThan(0);
  expect(alone?.candidates).not.toContainEqual({ ...whole?.candidates[0], relevant: false });
});
