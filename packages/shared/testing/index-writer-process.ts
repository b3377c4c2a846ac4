import { openSqliteVectorIndex } from '../src/adapters/sqlite-vector-index.ts';
import type { VectorIndex } from '../src/ports/vector-index.ts';
import { batchKeys, CONTRACT_SPEC, itemRecord, picture, pictureRecord } from './vector-index-points.ts';
import { race, raceSteps } from './vector-index-race.ts';

/** Another process on the same index file: `race FILE SEED SHARE OF` or `for-ever FILE FIRST_BATCH`. */
const [work, file = '', ...numbers] = process.argv.slice(2);
const [first = 0, no = 0, of = 1] = numbers.map(Number);
const index = await openSqliteVectorIndex({ file, spec: CONTRACT_SPEC });
if (work === 'for-ever') await writeForEver(index, first);
await race(index, raceSteps(first), { no, of });
await index.close();

/** Writes batch after batch until killed, and says which batch is acknowledged in both halves. */
async function writeForEver(target: VectorIndex, firstBatchNo: number): Promise<never> {
  for (let batchNo = firstBatchNo; ; batchNo++) {
    const keys = batchKeys(batchNo);
    await target.writePictures(keys.map((key) => picture(key)));
    await target.writeRecords(keys.map((key) => pictureRecord(key, [itemRecord(key, 'some words', { batch: batchNo })])));
    process.stdout.write(`${batchNo}\n`);
  }
}
