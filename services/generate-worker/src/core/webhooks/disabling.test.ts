import { expect, test } from '@jest/globals';
import { disabledBy } from './disabling.ts';

const CREATED = 1_000_000;

test.each([
  ['410 at once', { status: 410, isLast: true }, { failingSince: null }, 'gone'],
  ['410 also where it was failing long', { status: 410, isLast: true }, { failingSince: 1 }, 'gone'],
  [
    'a schedule that ran out while all failed before it already',
    { status: 500, isLast: true },
    { failingSince: CREATED - 1 },
    'failing',
  ],
  ['the same without any answer', { status: null, isLast: true }, { failingSince: CREATED - 1 }, 'failing'],
  ['the first delivery of those that fail', { status: 500, isLast: true }, { failingSince: CREATED + 1 }, null],
  ['failing since the moment it was added', { status: 500, isLast: true }, { failingSince: CREATED }, null],
  ['a success since', { status: 500, isLast: true }, { failingSince: null }, null],
  ['not the last attempt', { status: 500, isLast: false }, { failingSince: 1 }, null],
  ["a question's own address", { status: 410, isLast: true }, null, null],
] as const)('%s', (_, failed, webhook, expected) => {
  expect(disabledBy({ ...failed, deliveryCreatedAt: CREATED }, webhook)).toBe(expected);
});
