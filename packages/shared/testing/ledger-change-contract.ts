import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { changePlace, type Change } from '../src/contracts/changes.ts';
import type { Ledger, OwedChange } from '../src/ports/ledger.ts';

const object = (key: string): Change => ({ kind: 'object', bucket: 'b', key });
const item = (itemId: string, title: string | null): Change => ({
  kind: 'item',
  itemId,
  record: title === null ? null : { itemId, title, text: '', attributes: { n: 1, all: ['x', true] }, pictures: [] },
});
const settled = ({ place, generation }: OwedChange) => ({ place, generation });

/** What every Ledger does with changes that are owed: a part of ledgerContract. */
export function ledgerChangeContract(ledgerOf: () => Ledger): void {
  const note = (changes: Change[], at: number, changedAt: number | null = null) =>
    ledgerOf().noteChanges(
      't',
      changes.map((change) => ({ change, changedAt })),
      at,
    );
  const take = (at: number, more: { limit?: number; claimMs?: number; soloAfter?: number } = {}) =>
    ledgerOf().takeChanges('t', { limit: 10, claimMs: 100, soloAfter: 3, at, ...more });
  const keysOf = (changes: { change: Change }[]) =>
    changes.map(({ change }) => (change.kind === 'object' ? change.key : change.itemId));

  test('changes are taken oldest first, each by one worker, and are gone once they are settled', async () => {
    await note([object('b'), object('a')], 10, 7);
    await note([item('i', 'one')], 11);
    const taken = await take(20, { limit: 2 });
    expect(taken).toEqual([
      expect.objectContaining({ change: object('a'), noticedAt: 10, changedAt: 7, attempts: 1 }),
      expect.objectContaining({ change: object('b'), noticedAt: 10, changedAt: 7, attempts: 1 }),
    ]);
    const rest = await take(20);
    expect(rest).toEqual([expect.objectContaining({ change: item('i', 'one'), changedAt: null, place: 'item:i' })]);
    expect(await take(20)).toEqual([]);
    expect(await ledgerOf().owedChanges(20)).toEqual([{ tenant: 't', owed: 3, free: 0, oldestNoticedAt: 10 }]);
    await ledgerOf().settleChanges('t', [...taken, ...rest].map(settled), 30);
    expect(await ledgerOf().owedChanges(500)).toEqual([]);
    expect(await take(500)).toEqual([]);
  });

  test('a hundred notes of one place are one that is owed, with the newest of them', async () => {
    for (let n = 0; n < 100; n++) await note([item('i', `title ${n}`)], 10 + n, n);
    const taken = await take(200);
    expect(taken).toEqual([expect.objectContaining({ change: item('i', 'title 99'), noticedAt: 10, changedAt: 99 })]);
  });

  test('what is noted while it is worked is owed once more, and settling the older one does not drop it', async () => {
    await note([item('i', 'old')], 10);
    const [old] = await take(20);
    await note([item('i', null)], 30);
    // It is being worked: nobody else is given it meanwhile.
    expect(await take(40)).toEqual([]);
    await ledgerOf().settleChanges('t', [{ ...settled(old!), failure: { code: 'encoder_failed', reason: 'r', eTag: null } }], 50);
    expect(await ledgerOf().changeFailures('t', { limit: 9 })).toEqual([]);
    const again = await take(50);
    expect(again).toEqual([expect.objectContaining({ change: item('i', null), noticedAt: 30, attempts: 1 })]);
    await ledgerOf().settleChanges('t', again.map(settled), 60);
    // Twice is once.
    await ledgerOf().settleChanges('t', again.map(settled), 60);
    expect(await ledgerOf().owedChanges(60)).toEqual([]);
  });

  test('what a worker died over comes back after its claim, counts, and comes alone in the end', async () => {
    await note([object('a'), object('b'), object('c')], 10);
    for (const [n, at] of [20, 120, 220].entries()) {
      expect((await take(at)).map(({ attempts }) => attempts)).toEqual([n + 1, n + 1, n + 1]);
      expect(await take(at + 99)).toEqual([]);
    }
    expect(keysOf(await take(320))).toEqual(['a']);
    expect(keysOf(await take(320))).toEqual(['b']);
    await note([object('d')], 330);
    expect(keysOf(await take(330))).toEqual(['c']);
    expect(keysOf(await take(330))).toEqual(['d']);
  });

  test('what is given back is not counted as an attempt, and comes when it was said to', async () => {
    await note([object('a'), object('b')], 10);
    const taken = await take(20);
    await ledgerOf().giveBackChanges('t', ['object:["b","a"]'], 60);
    expect(taken.map(({ place }) => place)).toEqual(['object:["b","a"]', 'object:["b","b"]']);
    expect(await take(59)).toEqual([]);
    expect(await take(60)).toEqual([expect.objectContaining({ change: object('a'), attempts: 1 })]);
    await ledgerOf().giveBackChanges('t', ['object:["b","nowhere"]'], 60);
    expect(await ledgerOf().owedChanges(60)).toEqual([{ tenant: 't', owed: 2, free: 0, oldestNoticedAt: 10 }]);
  });

  test('a failure is listed in order until its place is noted again', async () => {
    await note([object('a'), object('b'), object('c')], 10);
    const taken = await take(20);
    const failure = (reason: string) => ({ code: 'picture_corrupt' as const, reason, eTag: 'e' });
    await ledgerOf().settleChanges('t', taken.map((one, n) => ({ ...settled(one), failure: failure(`r${n}`) })), 25); // prettier-ignore
    const [first, ...others] = await ledgerOf().changeFailures('t', { limit: 9 });
    expect(first).toMatchObject({ change: object('a'), code: 'picture_corrupt', reason: 'r0', eTag: 'e', failedAt: 25 });
    expect(keysOf(await ledgerOf().changeFailures('t', { after: first!.cursor, limit: 1 }))).toEqual(['b']);
    expect(keysOf(others)).toEqual(['b', 'c']);
    await note([object('b')], 30);
    expect(keysOf(await ledgerOf().changeFailures('t', { limit: 9 }))).toEqual(['a', 'c']);
    expect(keysOf(await take(30))).toEqual(['b']);
  });

  test('tenants have changes of their own, and take them along when they go', async () => {
    const ledger = ledgerOf();
    await note([object('a'), object('b')], 10);
    const [, b] = await take(10);
    await ledger.settleChanges('t', [{ ...settled(b!), failure: { code: 'picture_corrupt', reason: 'r', eTag: null } }], 11);
    await ledger.noteChanges('u', [{ change: object('a'), changedAt: null }], 20);
    expect(await ledger.takeChanges('v', { limit: 9, claimMs: 1, soloAfter: 3, at: 20 })).toEqual([]);
    expect((await ledger.owedChanges(20)).map(({ tenant, owed, free }) => [tenant, owed, free])).toEqual([
      ['t', 1, 0],
      ['u', 1, 1],
    ]);
    await ledger.deleteTenant('t', { createdUpTo: 9 });
    expect(await ledger.owedChanges(20)).toHaveLength(2);
    await ledger.deleteTenant('t');
    expect((await ledger.owedChanges(20)).map(({ tenant }) => tenant)).toEqual(['u']);
    expect(await ledger.changeFailures('t', { limit: 9 })).toEqual([]);
  });

  test('whatever is noted, taken, lost, given back and settled: the newest of each place is worked in the end', async () => {
    const step = fc.oneof(
      fc.record({
        do: fc.constant('note' as const),
        keys: fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 1 }),
      }),
      fc.record({ do: fc.constantFrom('take' as const, 'settle' as const, 'give back' as const, 'lose' as const) }),
    );
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
        const ledger = ledgerOf();
        const tenant = `run-${run++}`;
        const newest = new Map<string, number>();
        const worked = new Map<string, number>();
        let held: OwedChange[][] = [];
        let at = 1_000;
        const takeAll = (limit: number) => ledger.takeChanges(tenant, { limit, claimMs: 100, soloAfter: 3, at });
        const work = async (changes: OwedChange[]): Promise<void> => {
          for (const { place, change } of changes) worked.set(place, Number(change.kind === 'item' && change.record?.title));
          await ledger.settleChanges(tenant, changes.map(settled), at);
        };
        for (const one of steps) {
          at += 10;
          if (one.do === 'note') {
            const changes = one.keys.map((key) => item(key, String(at)));
            for (const change of changes) newest.set(changePlace(change), at);
            await ledger.noteChanges(tenant, changes.map((change) => ({ change, changedAt: null })), at); // prettier-ignore
          } else if (one.do === 'take') {
            held.push(await takeAll(2));
          } else {
            const changes = held.shift() ?? [];
            if (one.do === 'settle') await work(changes);
            else if (one.do === 'give back')
              await ledger.giveBackChanges(tenant, changes.map(({ place }) => place), at); // prettier-ignore
            // Its worker is gone: the claim has to run out.
            else at += 100;
          }
        }
        // A worker that comes late settles what it took long ago.
        for (const changes of held) await work(changes);
        for (let round = 0; round < 40; round++) {
          at += 100;
          await work(await takeAll(10));
        }
        expect(worked).toEqual(newest);
        expect((await ledger.owedChanges(at)).filter((owed) => owed.tenant === tenant)).toEqual([]);
        held = [];
      }),
      { numRuns: 30 },
    );
  });

  test('what failed is owed again when it is retried, but for what failed since or was noted since', async () => {
    await note([object('a'), object('b'), object('c'), item('i', 'old')], 10);
    const failure = { code: 'picture_corrupt' as const, reason: 'r', eTag: 'e' };
    const taken = await take(20);
    await ledgerOf().settleChanges('t', taken.map((one) => ({ ...settled(one), failure })), 30); // prettier-ignore
    await note([item('i', 'new')], 40);
    await ledgerOf().noteChanges('u', [{ change: object('a'), changedAt: null }], 40);
    const others = await ledgerOf().takeChanges('u', { limit: 9, claimMs: 1, soloAfter: 3, at: 40 });
    await ledgerOf().settleChanges('u', others.map((one) => ({ ...settled(one), failure })), 45); // prettier-ignore
    expect(await ledgerOf().retryChanges('t', { limit: 2, failedUpTo: 29, at: 50 })).toBe(0);
    expect(await ledgerOf().retryChanges('t', { limit: 2, failedUpTo: 30, at: 50 })).toBe(2);
    expect((await ledgerOf().changeFailures('t', { limit: 9 })).length).toBe(1);
    expect(await ledgerOf().retryChanges('t', { limit: 2, failedUpTo: 30, at: 51 })).toBe(1);
    expect(await ledgerOf().retryChanges('t', { limit: 2, failedUpTo: 30, at: 52 })).toBe(0);
    const again = await take(60);
    expect(again.map(({ change, noticedAt, attempts }) => ({ change, noticedAt, attempts }))).toEqual([
      { change: item('i', 'new'), noticedAt: 40, attempts: 1 },
      { change: object('a'), noticedAt: 50, attempts: 1 },
      { change: object('b'), noticedAt: 50, attempts: 1 },
      { change: object('c'), noticedAt: 51, attempts: 1 },
    ]);
    expect((await ledgerOf().changeFailures('u', { limit: 9 })).length).toBe(1);
  });
}
