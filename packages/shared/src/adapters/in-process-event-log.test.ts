import { expect, test } from '@jest/globals';
import type { SightlineEvent } from '../contracts/events.ts';
import { assetEvent, versionOf } from '../../testing/asset-event.ts';
import { eventLogContract, eventually } from '../../testing/event-log-contract.ts';
import { InProcessEventLog } from './in-process-event-log.ts';

eventLogContract(async () => ({ log: new InProcessEventLog({ retryMs: 5 }), close: async () => undefined }));

test('a group that is too far behind loses the oldest, not the newest', async () => {
  const log = new InProcessEventLog({ keepEvents: 10, retryMs: 5 });
  const got: SightlineEvent[] = [];
  const subscription = await log.subscribe('slow', async (events) => void got.push(...events));
  await subscription.close();
  for (let version = 1; version <= 25; version++) await log.publish([assetEvent('a', version)]);
  await log.subscribe('slow', async (events) => void got.push(...events));
  await eventually(() => got.length >= 10, 'what was kept');
  expect(got.map(versionOf)).toEqual([16, 17, 18, 19, 20, 21, 22, 23, 24, 25]);
  await log.close();
});
