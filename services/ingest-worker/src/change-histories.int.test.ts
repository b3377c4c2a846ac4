import { createHash } from 'node:crypto';
import { setTimeout as sleepFor } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DEFAULT_TENANT, pictureAssetId } from '@sightline/shared/contracts/ids';
import { parseBucketNotification } from '@sightline/shared/contracts/bucket-notification';
import { withWrites } from '@sightline/shared/ingestion/index-writes';
import type { ObjectInfo } from '@sightline/shared/ports/object-store';
import { Crash, FlowRig, type WorkerPorts } from './testing/flow-rig.ts';

/**
 * Histories of a bucket that changes while workers look at it. Every history has keys of its own; many share a rig, so that their
 * changes share batches, leases and the index. Seeded: CHANGE_RUNS says how many rigs, with HISTORIES_A_RUN histories each.
 */
const RUNS = Number(process.env['CHANGE_RUNS'] ?? 12);
const HISTORIES_A_RUN = 200;
const BUCKET = 'shop';
const KEYS = ['a.png', 'b c+d.png', 'ü%20.png'];
const CONTENTS = ['red', 'green', 'blue', 'BAD picture'];

type Through = (ports: WorkerPorts) => WorkerPorts;

type Telling = 'once' | 'twice' | 'late' | 'never';
interface Step {
  op: 'put' | 'delete' | 'move';
  key: number;
  to: number;
  content: number;
  telling: Telling;
}

const history: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    op: fc.oneof(
      { weight: 4, arbitrary: fc.constant('put' as const) },
      { weight: 2, arbitrary: fc.constant('delete' as const) },
      { weight: 1, arbitrary: fc.constant('move' as const) },
    ),
    key: fc.nat(KEYS.length - 1),
    to: fc.nat(KEYS.length - 1),
    content: fc.nat(CONTENTS.length - 1),
    telling: fc.oneof(
      { weight: 6, arbitrary: fc.constant<Telling>('once') },
      { weight: 2, arbitrary: fc.constant<Telling>('twice') },
      { weight: 2, arbitrary: fc.constant<Telling>('late') },
    ),
  }),
  { minLength: 1, maxLength: 7 },
);

/** The bucket, its gateway's notifications, and workers that die. */
class World {
  readonly rig: FlowRig;
  readonly #random: () => number;
  readonly #histories: Step[][];
  readonly truth = new Map<string, string>();
  /** On several partitions, so that what one delivers says nothing of the others. */
  readonly #partitions: unknown[][] = [[], [], []];
  readonly #late: unknown[] = [];
  #sequencer = 0;
  #isHappening = false;
  readonly #others: Promise<void>[] = [];
  crashes = 0;

  constructor(rig: FlowRig, histories: Step[][], seed: number) {
    this.rig = rig;
    this.#histories = histories.map((steps) => [...steps]);
    let state = seed | 1;
    this.#random = () => ((state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0) / 2 ** 32;
  }

  async play(through?: Through): Promise<void> {
    const { rig } = this;
    let calls = 0;
    rig.onCall = async (call, when) => {
      if (this.#isHappening) return;
      calls += 1;
      // The bucket changes between any two calls of a worker.
      if (call.startsWith('store.') || call.startsWith('index.')) if (this.#random() < 0.2) await this.#alone(() => this.#step());
      if (this.#random() < 0.1) await this.#alone(() => this.#deliver(0.5));
      // A worker that takes long has its changes given to another, beside it.
      if (this.#random() < 0.03) rig.passClaims();
      // It stands still with what it has read, while others are told of what is newer and write it.
      if (call === 'index.writePictures' && when === 'before' && this.#random() < 0.3) {
        rig.passClaims();
        await this.#alone(async () => {
          for (let n = 0; n < 10; n++) await this.#step();
          await this.#deliver(1);
        });
        // Another takes it up. Where the guard is in, that one waits for this one's lease, so this one does not wait for it.
        const other = this.#work(through, 1);
        this.#others.push(other);
        await Promise.race([other, sleepFor(60)]);
      }
      if (this.#random() < 0.05) await sleepFor(1 + 15 * this.#random());
      if (calls > 50 && this.#random() < 0.002) throw new Error(`dies ${when} ${call}`);
    };
    for (let turn = 0; this.#isGoing; turn++) {
      for (let n = 0; n < 20; n++) await this.#step();
      await this.#deliver(0.7);
      // Two workers: what one holds the other is not given, unless its claim ran out.
      if (turn % 5 === 4) rig.passClaims();
      await Promise.all([this.#work(through), this.#work(through)]);
    }
    rig.onCall = () => {};
    await Promise.all(this.#others);
    rig.passLeases();
    this.#partitions[0]!.push(...this.#late.splice(0));
    while (this.#partitions.some((partition) => partition.length > 0)) await this.#deliver(1);
    await rig.driveChanges();
  }

  get #isGoing(): boolean {
    return this.#histories.some((steps) => steps.length > 0);
  }

  async #work(through?: Through, jobs = 4): Promise<void> {
    for (let job = 0; job < jobs; job++) {
      try {
        await this.rig.workChanges(DEFAULT_TENANT, through);
      } catch (error) {
        if (!(error instanceof Crash)) throw error;
        this.crashes += 1;
      }
    }
  }

  /** The next step of one of the histories. */
  async #step(): Promise<void> {
    const open = this.#histories.flatMap((steps, n) => (steps.length > 0 ? [n] : []));
    const no = open[Math.floor(this.#random() * open.length)];
    const step = no === undefined ? undefined : this.#histories[no]?.shift();
    if (step) await this.#take(step, `h${no}/`);
  }

  /** What happens between two calls of a worker is not itself disturbed. */
  async #alone(happening: () => Promise<void>): Promise<void> {
    if (this.#isHappening) return;
    this.#isHappening = true;
    try {
      await happening();
    } finally {
      this.#isHappening = false;
    }
  }

  async #take({ op, key, to, content, telling }: Step, prefix: string): Promise<void> {
    const name = prefix + KEYS[key]!;
    if (op === 'put') await this.#put(name, CONTENTS[content]!, telling);
    else if (op === 'delete') await this.#delete(name, telling);
    else {
      const moved = this.truth.get(name);
      if (moved === undefined || key === to) return;
      await this.#put(prefix + KEYS[to]!, moved, telling);
      await this.#delete(name, telling);
    }
  }

  async #put(key: string, content: string, telling: Telling): Promise<void> {
    await this.rig.put(BUCKET, key, content);
    this.truth.set(key, content);
    this.#tell('s3:ObjectCreated:Put', key, telling);
  }

  async #delete(key: string, telling: Telling): Promise<void> {
    await this.rig.store.delete({ bucket: BUCKET, key });
    if (this.truth.delete(key)) this.#tell('s3:ObjectRemoved:Delete', key, telling);
  }

  #tell(eventName: string, key: string, telling: Telling): void {
    // A gateway that was started again counts from 1.
    this.#sequencer = this.#random() < 0.05 ? 1 : this.#sequencer + 1;
    const isPlain = this.#random() < 0.5;
    const encoded = encodeURIComponent(key).replaceAll('%20', '+').replaceAll('%2F', '/');
    const event = {
      Records: [
        {
          eventName,
          eventTime: new Date(this.rig.now()).toISOString(),
          s3: {
            bucket: { name: BUCKET },
            object: { key: isPlain ? key : encoded, sequencer: this.#sequencer.toString(16) },
          },
        },
      ],
    };
    if (telling === 'never') return;
    if (telling === 'late') this.#late.push(event);
    else for (let n = 0; n < (telling === 'twice' ? 2 : 1); n++) this.#partitions[Math.floor(this.#random() * 3)]!.push(event);
  }

  /** Each partition in its order, or from anywhere in it; the late ones now and then. */
  async #deliver(share: number): Promise<void> {
    if (this.#late.length > 0 && this.#random() < 0.3) this.#partitions[1]!.push(...this.#late.splice(0, 5));
    for (const partition of this.#partitions) {
      if (this.#random() > share) continue;
      const batch = partition.splice(0, 1 + Math.floor(this.#random() * 40));
      if (this.#random() < 0.5) batch.reverse();
      const noticed = batch.flatMap((event) =>
        parseBucketNotification(event).objects.map((object) => ({ kind: 'object' as const, ...object })),
      );
      // Whoever dies over a batch has not said that it is done with it: it comes again.
      for (let isTaken = noticed.length === 0; !isTaken;) {
        isTaken = await this.rig.notice(noticed).then(
          () => true,
          () => false,
        );
        if (!isTaken) this.crashes += 1;
      }
    }
  }
}

async function play(seed: number, through?: Through, isToldOnce = false) {
  const drawn = fc.sample(history, { numRuns: HISTORIES_A_RUN, seed });
  // What is told late or twice has what went wrong looked at again.
  const histories = isToldOnce ? drawn.map((steps) => steps.map((step) => ({ ...step, telling: 'once' as const }))) : drawn;
  const rig = await FlowRig.open();
  try {
    await rig.put(BUCKET, '.keep', '');
    await rig.run({ type: 'prefix', bucket: BUCKET, prefix: '' });
    const world = new World(rig, histories, seed);
    await world.play(through);
    const wrong = await differences(rig, world.truth);
    const { findings } = await rig.audit();
    return { rig, wrong, findings: findings.map(({ kind, key, detail }) => `${kind} ${key} ${detail}`), crashes: world.crashes };
  } catch (error) {
    await rig.close();
    throw error;
  }
}

/** Point by point, without the audit's code: what is live is what the bucket has, of these bytes. */
async function differences(rig: FlowRig, truth: Map<string, string>): Promise<string[]> {
  const points = await rig.index.scan(DEFAULT_TENANT, { limit: 10_000 });
  const live = new Map(points.filter(({ deleted }) => !deleted).map((point) => [point.assetId, point]));
  const wrong: string[] = [];
  for (const [key, content] of truth) {
    const assetId = pictureAssetId(DEFAULT_TENANT, BUCKET, key);
    const sha256 = live.get(assetId)?.sha256;
    live.delete(assetId);
    const isBad = content.startsWith('BAD');
    if (isBad ? sha256 !== undefined : sha256 !== createHash('sha256').update(content).digest('hex'))
      wrong.push(`${key}: ${content}, found ${sha256}`);
  }
  return [...wrong, ...[...live.values()].map(({ object }) => `${object?.key}: is not there, found`)];
}

test.each(Array.from({ length: RUNS }, (_, run) => run + 1))(
  `${HISTORIES_A_RUN} histories of creating, changing, deleting, moving, told twice, late and out of order: the index ends as the bucket (seed %i)`,
  async (seed) => {
    const played = await play(seed);
    await played.rig.close();
    expect(played.wrong).toEqual([]);
    expect(played.findings).toEqual([]);
    expect(played.crashes).toBeGreaterThan(0);
  },
  120_000,
);

/** The same histories with a guard taken out, to see that it is the guard that makes them end well. */
async function wrongWithout(through: Through): Promise<number> {
  let wrong = 0;
  for (let seed = 1; seed <= 12 && wrong === 0; seed++) {
    const played = await play(seed, through, true);
    await played.rig.close();
    wrong += played.wrong.length + played.findings.length;
  }
  return wrong;
}

test('the histories end wrong when what was told meanwhile is settled with what was worked', async () => {
  const wrong = await wrongWithout((ports) => ({
    ...ports,
    ledger: over(ports.ledger, {
      settleChanges: async (tenant, settled, at) => {
        await ports.ledger.settleChanges(tenant, settled, at);
        // What was noted again is free now.
        const again = await ports.ledger.takeChanges(tenant, { limit: 10_000, claimMs: 1_000, soloAfter: 1_000, at });
        const isSettled = ({ place }: { place: string }): boolean => settled.some((one) => one.place === place);
        await ports.ledger.settleChanges(tenant, again.filter(isSettled), at);
        await ports.ledger.giveBackChanges(tenant, again.filter((one) => !isSettled(one)).map(({ place }) => place), at); // prettier-ignore
      },
    }),
  }));
  expect(wrong).toBeGreaterThan(0);
}, 400_000);

test('the histories end wrong without locks, versions and the second look', async () => {
  let version = 0;
  const wrong = await wrongWithout(({ store, index, ledger }) => {
    const seen = new Map<string, Promise<ObjectInfo | null>>();
    return {
      ledger: over(ledger, {
        leaseKeys: async (keys) => ({ token: '', version: ++version, granted: keys, busy: [] }),
        renewKeys: async () => true,
        releaseKeys: async () => {},
      }),
      // The last writer wins, whatever it read.
      index: withWrites(index, {
        writePictures: (writes) => index.writePictures(writes.map((write) => ({ ...write, imageVersion: ++version }))),
        writeRecords: (writes) => index.writeRecords(writes),
        delete: (deletions) => index.delete(deletions.map((deletion) => ({ ...deletion, version: ++version }))),
      }),
      store: over(store, {
        head: (ref) => {
          const first = seen.get(ref.key) ?? store.head(ref);
          seen.set(ref.key, first);
          return first;
        },
      }),
    };
  });
  expect(wrong).toBeGreaterThan(0);
}, 400_000);

/** A port with some of its methods replaced. */
function over<P extends object>(port: P, methods: Partial<P>): P {
  return new Proxy(port, {
    get: (target, property) => {
      const own: unknown = Reflect.get(methods, property) ?? Reflect.get(target, property);
      return typeof own === 'function' ? own.bind(target) : own;
    },
  });
}
