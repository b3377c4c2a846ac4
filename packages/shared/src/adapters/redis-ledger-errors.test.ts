import { expect, test } from '@jest/globals';
import { SightlineError } from '../runtime/errors.ts';
import { toLedgerError } from './redis-ledger-errors.ts';

const reply = (message: string): Error => Object.assign(new Error(message), { name: 'ReplyError' });

test.each([
  ["OOM command not allowed when used memory > 'maxmemory'.", 'ledger_full', true],
  ["READONLY You can't write against a read only replica.", 'ledger_unavailable', true],
  ['LOADING Redis is loading the dataset in memory', 'ledger_unavailable', true],
  ["MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", 'ledger_unavailable', true],
  ['TRYAGAIN Multiple keys request during rehashing of slot', 'ledger_unavailable', true],
  ['CLUSTERDOWN The cluster is down', 'ledger_unavailable', true],
  ['MISCONF Errors writing to the AOF file: No space left on device', 'ledger_unavailable', true],
  // A mistake of ours is not told as an outage.
  ['ERR user_script:2: Script attempted to access nonexistent global variable', 'internal', true],
  ['WRONGTYPE Operation against a key holding the wrong kind of value', 'internal', true],
])('a refusal %s', (message, code, retryable) => {
  expect(toLedgerError(reply(message))).toMatchObject({ code, retryable });
});

test('a connection that broke, and an answer that came late, are unavailable; our own errors stay', () => {
  expect(toLedgerError(new Error('connect ECONNREFUSED'))).toMatchObject({ code: 'ledger_unavailable' });
  expect(toLedgerError(new Error('Command timed out'))).toMatchObject({ code: 'ledger_unavailable' });
  const own = new SightlineError('store_damaged');
  expect(toLedgerError(own)).toBe(own);
});
