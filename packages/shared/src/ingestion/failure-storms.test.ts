import { expect, test } from '@jest/globals';
import type { ErrorCode } from '../runtime/errors.ts';
import { FailureStorms, STORM_DEFAULTS } from './failure-storms.ts';

const failing = (code: ErrorCode, failed: number, settled = 64) => ({ settled, failed: Array<ErrorCode>(failed).fill(code) });

test('200 objects of which nine in ten are refused are a storm, which says what it is and what to do', () => {
  const storms = new FailureStorms(STORM_DEFAULTS);
  for (let i = 0; i < 3; i++) expect(storms.note('a', failing('object_forbidden', 60))).toBeNull();
  const reason = storms.note('a', failing('object_forbidden', 64));
  expect(reason).toMatch(/^object_forbidden: 244 of the last 256 objects/);
  expect(reason).toContain('credentials');
});

test('a single large chunk is one, a few objects are none', () => {
  const storms = new FailureStorms(STORM_DEFAULTS);
  expect(storms.note('a', failing('object_forbidden', 199, 199))).toBeNull();
  expect(new FailureStorms(STORM_DEFAULTS).note('a', failing('object_forbidden', 200, 200))).not.toBeNull();
});

test('what fared well lies too far back to count, and one that fares well in between does', () => {
  const storms = new FailureStorms(STORM_DEFAULTS);
  for (let i = 0; i < 100; i++) expect(storms.note('a', failing('object_forbidden', 0))).toBeNull();
  for (let i = 0; i < 3; i++) expect(storms.note('a', failing('object_forbidden', 64))).toBeNull();
  expect(storms.note('a', failing('object_forbidden', 64))).not.toBeNull();
  for (let i = 0; i < 40; i++) expect(storms.note('b', failing('object_forbidden', i % 4 === 0 ? 0 : 64))).toBeNull();
});

test('ingestions are told apart, codes too; the next chunk that fails so is a storm at once, one that fares well ends it', () => {
  const storms = new FailureStorms(STORM_DEFAULTS);
  for (const id of ['a', 'b', 'c']) expect(storms.note(id, failing('object_not_found', 100, 100))).toBeNull();
  expect(storms.note('a', failing('object_forbidden', 100, 100))).toBeNull();
  expect(storms.note('b', failing('object_not_found', 100, 100))).not.toBeNull();
  expect(storms.note('b', failing('object_not_found', 100, 100))).not.toBeNull();
  expect(storms.note('b', failing('object_not_found', 0, 100))).toBeNull();
  expect(storms.note('b', failing('object_not_found', 100, 100))).toBeNull();
});

test('broken pictures are one only when practically all of a thousand are, and alike', () => {
  const storms = new FailureStorms(STORM_DEFAULTS);
  for (let i = 0; i < 9; i++) expect(storms.note('a', failing('picture_is_text', 100, 100))).toBeNull();
  expect(storms.note('a', failing('picture_is_text', 100, 100))).toContain('right source');
  for (let i = 0; i < 30; i++) expect(storms.note('b', failing('picture_corrupt', 95, 100))).toBeNull();
  for (let i = 0; i < 30; i++)
    expect(storms.note('c', failing(i % 2 ? 'picture_corrupt' : 'picture_empty', 100, 100))).toBeNull();
});

test('0 objects watch for none', () => {
  const storms = new FailureStorms({ objects: 0, share: 0.9 });
  for (let i = 0; i < 30; i++) expect(storms.note('a', failing('object_forbidden', 64))).toBeNull();
});

test('what was begun before a hold is told from what is begun after it', () => {
  const storms = new FailureStorms(STORM_DEFAULTS);
  expect(storms.wasHeldSince('a', 0)).toBe(false);
  storms.noteHold('a', 1_000);
  expect(storms.wasHeldSince('a', 999)).toBe(true);
  expect(storms.wasHeldSince('a', 1_001)).toBe(false);
  expect(storms.wasHeldSince('b', 999)).toBe(false);
});
