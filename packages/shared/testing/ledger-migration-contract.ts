import { expect, test } from '@jest/globals';
import type { Migration } from '../src/contracts/migrations.ts';
import type { Ledger } from '../src/ports/ledger.ts';
import { newMigration } from './migration-builder.ts';

const HELD = 10_000;

/** What every Ledger does for migrations between versions of the index: a part of ledgerContract. */
export function ledgerMigrationContract(ledgerOf: () => Ledger): void {
  const point = (assetId: string, tenant = 't') => ({ tenant, assetId });
  const next = (migration: Migration, change: Partial<Migration>): Migration => ({
    ...migration,
    revision: migration.revision + 1,
    ...change,
  });
  const take = async (version: number, at: number, limit = 10) =>
    (await ledgerOf().takeCopies(version, { limit, claimMs: 1_000, at })).map(({ assetId }) => assetId);

  /** Version 1 takes writes, version 2 is the mirror. */
  const mirroring = async (): Promise<Migration> => {
    const migration = newMigration('m');
    await ledgerOf().addMigration(migration);
    const filling = next(migration, { status: 'filling' });
    expect(await ledgerOf().changeMigration(filling, { version: 1, mirror: 2, closed: null })).toBe(true);
    return filling;
  };

  test('one migration goes at a time, and all are kept', async () => {
    const ledger = ledgerOf();
    expect(await ledger.listMigrations(10)).toEqual([]);
    expect(await ledger.getMigration('m1')).toBeNull();
    const first = newMigration('m1', { queries: [{ tenant: 't', query: 'a', relevant: ['x'] }] });
    expect(await ledger.addMigration(first)).toBe(true);
    expect(await ledger.addMigration(newMigration('m2', { createdAt: 2 }))).toBe(false);
    expect(await ledger.getMigration('m1')).toEqual(first);
    expect(await ledger.changeMigration(next(first, { status: 'cancelled', finishedAt: 5 }))).toBe(true);
    const second = newMigration('m2', { createdAt: 2 });
    expect(await ledger.addMigration(second)).toBe(true);
    expect((await ledger.listMigrations(10)).map(({ migrationId }) => migrationId)).toEqual(['m2', 'm1']);
    expect(await ledger.listMigrations(1)).toEqual([second]);
  });

  test('a migration is changed by who knows its revision, once', async () => {
    const ledger = ledgerOf();
    const migration = newMigration('m');
    await ledger.addMigration(migration);
    const changed = next(migration, { status: 'previewing', reason: 'because' });
    expect(await ledger.changeMigration(changed)).toBe(true);
    expect(await ledger.changeMigration(changed)).toBe(true);
    expect(await ledger.changeMigration(next(migration, { status: 'failed' }))).toBe(false);
    expect(await ledger.changeMigration(next(newMigration('other'), {}))).toBe(false);
    expect(await ledger.getMigration('m')).toEqual(changed);
  });

  test('writers are told where they stand', async () => {
    const ledger = ledgerOf();
    const note = async (version: number) => (await ledger.noteWrites(version, [point('a')], { heldUntil: HELD })).outcome;
    expect(await ledger.indexWriting()).toBeNull();
    expect(await note(1)).toBe('free');
    const migration = await mirroring();
    expect(await ledger.indexWriting()).toEqual({ version: 1, mirror: 2, closed: null });
    expect([await note(1), await note(2)]).toEqual(['noted', 'moved']);
    const cutting = next(migration, { status: 'cutting_over' });
    await ledger.changeMigration(cutting, { version: null, mirror: 2, closed: null });
    expect([await note(1), await note(2)]).toEqual(['wait', 'wait']);
    // One of another revision changes the writing as little as the migration.
    expect(await ledger.changeMigration(next(migration, { status: 'failed' }), { version: 7, mirror: null, closed: null })).toBe(
      false,
    );
    await ledger.changeMigration(next(cutting, { status: 'serving' }), { version: 2, mirror: null, closed: 1 });
    expect([await note(1), await note(2), await note(3)]).toEqual(['moved', 'noted', 'free']);
    expect(await ledger.indexWriting()).toEqual({ version: 2, mirror: null, closed: 1 });
  });

  test('what is being written is given out once the write is over, or when its writer must be dead', async () => {
    const ledger = ledgerOf();
    await mirroring();
    const noted = await ledger.noteWrites(1, [point('a'), point('b')], { heldUntil: HELD });
    if (noted.outcome !== 'noted') throw new Error(noted.outcome);
    expect(noted.mirror).toBe(2);
    expect(await take(2, HELD - 1)).toEqual([]);
    expect(await ledger.countCopies(2)).toEqual({ owed: 2, failed: 0 });
    await ledger.freeWrites(2, [point('a')], { generation: noted.generation, at: 50 });
    expect(await take(2, 49)).toEqual([]);
    expect(await take(2, 50)).toEqual(['a']);
    expect(await take(2, HELD)).toEqual(expect.arrayContaining(['b']));
    expect(await ledger.countCopies(1)).toEqual({ owed: 0, failed: 0 });
  });

  test('a second writer of the same point keeps it back, whatever the first says', async () => {
    const ledger = ledgerOf();
    await mirroring();
    const first = await ledger.noteWrites(1, [point('a')], { heldUntil: HELD });
    await ledger.noteWrites(1, [point('a')], { heldUntil: HELD + 5 });
    if (first.outcome !== 'noted') throw new Error(first.outcome);
    await ledger.freeWrites(2, [point('a')], { generation: first.generation, at: 50 });
    expect(await take(2, HELD)).toEqual([]);
    expect(await take(2, HELD + 5)).toEqual(['a']);
  });

  test('what is owed for another reason meanwhile is held by its writer alone, and freed by it', async () => {
    const ledger = ledgerOf();
    await mirroring();
    const noted = await ledger.noteWrites(1, [point('a')], { heldUntil: HELD });
    if (noted.outcome !== 'noted') throw new Error(noted.outcome);
    await ledger.oweCopies(2, [point('a')], 10);
    expect(await take(2, 20)).toEqual([]);
    await ledger.freeWrites(2, [point('a')], { generation: noted.generation, at: 30 });
    expect(await take(2, 30)).toEqual(['a']);
  });

  test('a write that ends after its point was given out and settled is owed again', async () => {
    const ledger = ledgerOf();
    await mirroring();
    const noted = await ledger.noteWrites(1, [point('a')], { heldUntil: 100 });
    if (noted.outcome !== 'noted') throw new Error(noted.outcome);
    await ledger.settleCopies(2, await ledger.takeCopies(2, { limit: 1, claimMs: 10, at: 100 }));
    expect(await ledger.countCopies(2)).toEqual({ owed: 0, failed: 0 });
    await ledger.freeWrites(2, [point('a')], { generation: noted.generation, at: 150 });
    expect(await take(2, 150)).toEqual(['a']);
  });

  test('what is taken belongs to its taker for a while, longest waiting first', async () => {
    const ledger = ledgerOf();
    await ledger.oweCopies(2, [point('b'), point('a')], 20);
    await ledger.oweCopies(2, [point('c'), point('a', 'other')], 10);
    await ledger.oweCopies(3, [point('z')], 10);
    expect((await take(2, 30, 2)).toSorted()).toEqual(['a', 'c']);
    // A command that was sent twice may have taken the others for nobody: they are back after the same time.
    await take(2, 30);
    expect(await take(2, 1_029)).toEqual([]);
    expect(await take(2, 1_030)).toHaveLength(4);
    expect(await take(3, 30)).toEqual(['z']);
  });

  test('what was noted again while it was worked stays owed', async () => {
    const ledger = ledgerOf();
    await mirroring();
    await ledger.oweCopies(2, [point('a'), point('b'), point('c')], 0);
    const taken = await ledger.takeCopies(2, { limit: 3, claimMs: 1_000, at: 0 });
    await ledger.oweCopies(2, [point('a')], 5);
    await ledger.noteWrites(1, [point('b')], { heldUntil: 500 });
    await ledger.settleCopies(2, taken);
    expect(await ledger.countCopies(2)).toEqual({ owed: 2, failed: 0 });
    expect(await take(2, 5)).toEqual(['a']);
    expect(await take(2, 500)).toEqual(['b']);
  });

  test('what is to be tried later waits, and what failed waits until it is noted or retried', async () => {
    const ledger = ledgerOf();
    await ledger.oweCopies(2, [point('late'), point('bad'), point('worse')], 0);
    const taken = await ledger.takeCopies(2, { limit: 3, claimMs: 1_000, at: 0 });
    const failure = { code: 'object_not_found' as const, reason: 'It is gone.' };
    await ledger.settleCopies(
      2,
      taken.map((one) => ({ ...one, ...(one.assetId === 'late' ? { retryAt: 70 } : { failure }) })),
    );
    expect(await ledger.countCopies(2)).toEqual({ owed: 1, failed: 2 });
    expect(await ledger.stillOwed(2, [point('bad'), point('late'), point('never')])).toEqual([point('late')]);
    expect(await ledger.stillOwed(2, [])).toEqual([]);
    expect(await ledger.failedCopies(2, 10)).toEqual([
      { ...point('bad'), ...failure },
      { ...point('worse'), ...failure },
    ]);
    expect(await ledger.failedCopies(2, 1)).toHaveLength(1);
    expect(await take(2, 69)).toEqual([]);
    expect(await take(2, 70)).toEqual(['late']);
    await ledger.oweCopies(2, [point('bad')], 80);
    expect(await ledger.countCopies(2)).toEqual({ owed: 2, failed: 1 });
    expect(await take(2, 80)).toEqual(['bad']);
    expect(await ledger.retryCopies(2, 90)).toBe(1);
    expect(await take(2, 90)).toEqual(['worse']);
    expect(await ledger.failedCopies(2, 10)).toEqual([]);
    await ledger.dropCopies(2);
    expect(await ledger.countCopies(2)).toEqual({ owed: 0, failed: 0 });
  });
}
