import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect } from '@jest/globals';
import { pino } from 'pino';
import { openKafkaClient, withKafkaAdmin } from '@sightline/shared/adapters/kafka-client';
import { lagOf } from '@sightline/shared/adapters/kafka-group';
import { eventGroup } from '@sightline/shared/contracts/events';
import { ownKafkaMissing } from '@sightline/shared/testing/kafka-server';
import { ownS3Missing } from '@sightline/shared/testing/s3-server';
import type { AuditOutput } from '../harness/audit-command.ts';
import { ProductionStack, stackMissing } from '../harness/production-stack.ts';
import { pictureKey, type StackBucket } from '../harness/stack-bucket.ts';
import type { Seeded } from '@sightline/shared/testing/seeded';
import { FAULT_TIMEOUT_MS, faultTest } from './fault-test.ts';

const OBJECTS = 1_000;
const AT_ONCE = 8;
const REST_WITHIN_MS = 120_000;
const missing = stackMissing ?? ownKafkaMissing ?? ownS3Missing;

let stack: ProductionStack;
beforeAll(async () => {
  if (missing) return;
  stack = await ProductionStack.open({
    kafka: true,
    bucketEvents: true,
    moreProcesses: [{ name: 'encode-bulk-2', service: 'encode-worker', env: { LANES: 'event,bulk' } }],
  });
}, FAULT_TIMEOUT_MS);
afterAll(async () => {
  const ends = await stack?.stopAll();
  await stack?.close();
  expect(ends ?? []).toEqual([]);
}, FAULT_TIMEOUT_MS);

interface Op {
  key: string;
  /** Number of the picture that is put; null deletes. */
  picture: number | null;
}

/** Each object is put, many are overwritten, many deleted, some put again; of one key in order, over all keys in any. */
function historyOf(random: Seeded): Op[] {
  let pictures = 10_000;
  const places: { at: number; op: Op }[] = [];
  for (let n = 0; n < OBJECTS; n++) {
    const key = pictureKey(n);
    const ops: Op[] = [{ key, picture: pictures++ }];
    if (random.next() < 0.4) ops.push({ key, picture: pictures++ });
    if (random.next() < 0.4) ops.push({ key, picture: null });
    if (ops.length > 1 && random.next() < 0.2) ops.push({ key, picture: pictures++ });
    const times = ops.map(() => random.next()).toSorted((a, b) => a - b);
    ops.forEach((op, i) => places.push({ at: times[i] ?? 0, op }));
  }
  return places.toSorted((a, b) => a.at - b.at).map(({ op }) => op);
}

/** `beforeEach` is asked with how many were begun. Of one key one at a time. */
async function play(bucket: StackBucket, ops: Op[], onOp: (begun: number) => void = () => {}): Promise<void> {
  const lastOf = new Map<string, Promise<unknown>>();
  let next = 0;
  const playOne = async ({ key, picture }: Op): Promise<void> => {
    if (picture === null) await bucket.delete(key);
    else await bucket.put(key, await bucket.picture(picture));
  };
  const worker = async (): Promise<void> => {
    for (let op = ops[next]; op !== undefined; op = ops[next]) {
      next += 1;
      onOp(next);
      const own = op;
      const done = (lastOf.get(op.key) ?? Promise.resolve()).then(() => playOne(own));
      lastOf.set(op.key, done);
      await done;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** Everything that the gateway told of was taken and worked. */
async function untilAtRest(): Promise<void> {
  const place = { brokers: stack.kafka?.brokers ?? [], prefix: stack.topicPrefix };
  const kafka = openKafkaClient(place, pino({ level: 'silent' }));
  const group = eventGroup(stack.topicPrefix, 'changes');
  let last = '';
  for (const endsAt = performance.now() + REST_WITHIN_MS; ; await sleep(500)) {
    const lags = await withKafkaAdmin(kafka, (admin) => lagOf(admin, group, [stack.notificationsTopic])).catch(() => null);
    const { owed } = await stack.changes();
    const state = JSON.stringify(lags?.map(({ offset, lag }) => [offset, String(lag)]));
    // Twice the same: what the gateway still sends would move it.
    if (lags?.every(({ lag }) => lag === 0n) && owed === 0 && state === last) return;
    last = state;
    if (performance.now() > endsAt) throw new Error(`not at rest: ${state}, ${owed} owed\n${stack.outputs()}`);
  }
}

async function kill(name: string, awayMs: number): Promise<void> {
  await stack.kill(name);
  await sleep(awayMs);
  stack.launch(name);
}

function findingsOf({ tenants }: AuditOutput): { kind: string; key: string }[] {
  return tenants.flatMap(({ list }) => list.map(({ kind, key }) => ({ kind, key })));
}

faultTest(
  'PUT, overwrite and DELETE of 1,000 objects with kill -9 of the ingest worker and an encode worker and a broker that goes end in the bucket’s state',
  missing,
  async (random) => {
    const bucket = stack.newBucket();
    await bucket.putPictures(1);
    const { status } = await stack.waitForEnd(await stack.ingest(bucket.source));
    expect(status).toBe('completed');

    // First the workers die, while the broker is there: nothing is lost, and the notifications alone bring the index in step.
    const ops = historyOf(random);
    const cut = Math.floor(ops.length * 0.7);
    const victims = random.shuffled(['ingest-worker', 'encode-bulk', 'ingest-worker', 'encode-bulk-2']);
    const moments = victims.map(() => random.whole(50, cut - 50)).toSorted((a, b) => a - b);
    const kills: Promise<void>[] = [];
    await play(bucket, ops.slice(0, cut), (begun) => {
      while (moments[0] !== undefined && begun >= moments[0]) {
        moments.shift();
        const victim = victims.shift() ?? '';
        const awayMs = random.whole(0, 1_500);
        // One after the other: a process is not killed while it is away.
        kills.push((kills.at(-1) ?? Promise.resolve()).then(() => kill(victim, awayMs)));
      }
    });
    await Promise.all(kills);
    await stack.startAll();
    await untilAtRest();
    expect(findingsOf(await stack.audit())).toEqual([]);

    // Then the broker goes. What changed meanwhile the gateway cannot tell of and forgets: that, and nothing else, is for the audit.
    const rest = ops.slice(cut);
    const away = { from: Math.floor(rest.length * 0.3), to: Math.floor(rest.length * 0.6) };
    await play(bucket, rest.slice(0, away.from));
    await untilAtRest();
    const stopping = random.pick(['stop', 'kill'] as const);
    await stack.kafka?.[stopping]?.();
    const unheard = rest.slice(away.from, away.to);
    await play(bucket, unheard);
    await kill('ingest-worker', 0);
    await stack.kafka?.start?.();
    await stack.startAll();
    await play(bucket, rest.slice(away.to));
    await untilAtRest();
    const lost = findingsOf(await stack.audit());
    const untold = new Set(unheard.map(({ key }) => key));
    expect(lost.filter(({ key }) => !untold.has(key))).toEqual([]);
    await stack.audit(['--repair']);
    await untilRepaired();
    expect(findingsOf(await stack.audit())).toEqual([]);
  },
);

/** The repair is an ingestion. */
async function untilRepaired(): Promise<void> {
  for (const endsAt = performance.now() + REST_WITHIN_MS; ; await sleep(300)) {
    const [audit] = (await stack.audit()).tenants;
    if (audit?.running.length === 0) return;
    if (performance.now() > endsAt) throw new Error(`not repaired: ${JSON.stringify(audit)}\n${stack.outputs()}`);
  }
}
