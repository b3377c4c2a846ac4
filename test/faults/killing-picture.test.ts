import { afterEach, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ProductionStack, stackMissing } from '../harness/production-stack.ts';
import { expectWhole } from './oracle.ts';

const FAKE = fileURLToPath(new URL('../harness/killing-decoder.ts', import.meta.url));
/** Three times with the others of its chunk, once alone. */
const DEATHS = 4;
const TIMEOUT_MS = 600_000;

let stack: ProductionStack | undefined;
afterEach(async () => {
  await stack?.close();
  stack = undefined;
});

// Each death is found out when lock and lease have run out, some twenty seconds later.
const why = stackMissing ?? (process.env['FAULT_LONG'] ? null : 'two minutes long: part of `npm run soak`');
const name =
  'a picture that kills the process that decodes it (a fake decoder) is found and named, and everything else is indexed';
(why ? test.skip : test)(
  why ? `${name} (${why})` : name,
  async () => {
    stack = await ProductionStack.open({ envOf: { 'encode-bulk': { NODE_OPTIONS: `--import=${FAKE}` } } });
    const bucket = stack.newBucket();
    await bucket.putPictures(150);
    await bucket.put('pictures/000040-poison.jpg', Buffer.from('KILL'));
    const ingestionId = await stack.ingest(bucket.source);
    let deaths = 0;
    while ((await stack.progress(ingestionId)).status !== 'completed' && deaths <= DEATHS) {
      if (stack.process('encode-bulk').ended !== null) {
        deaths += 1;
        stack.launch('encode-bulk');
      }
      await sleep(100);
    }
    expect(deaths).toBe(DEATHS);
    await expectWhole(stack, ingestionId, { listed: 151, failures: { 'pictures/000040-poison.jpg': 'picture_kills_decoder' } });
  },
  TIMEOUT_MS,
);
