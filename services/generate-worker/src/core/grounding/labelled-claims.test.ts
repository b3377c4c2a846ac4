import { expect, test } from '@jest/globals';
import { labelledClaims, sourcesOf } from '../../testing/labelled-claims.ts';
import { gather } from './check-claims.ts';
import { judgeClaim } from './judge-claim.ts';

test('on the labelled claims the rules are seldom wrong where they speak, and speak of most; bench/claim-check.ts has the figures', () => {
  const claims = labelledClaims();
  expect(claims.length).toBeGreaterThanOrEqual(200);
  const judged = claims.map((line) => ({
    label: line.label,
    verdict: judgeClaim({ ...gather(line.claim, sourcesOf(line)), probability: null }).verdict,
  }));
  for (const named of ['supported', 'unsupported']) {
    const said = judged.filter(({ verdict }) => verdict === named);
    const right = said.filter(({ label }) => label === named).length;
    expect(right / said.length).toBeGreaterThan(0.93);
    expect(right / judged.filter(({ label }) => label === named).length).toBeGreaterThan(0.55);
  }
});
