import { SightlineError } from '../runtime/errors.ts';

/** https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors: a reply's first word is its code. */
const MAY_PASS: Record<string, string> = {
  BUSY: 'Redis is held up by a script.',
  CLUSTERDOWN: 'A part of the Redis cluster is down.',
  LOADING: 'Redis is loading its data.',
  MASTERDOWN: 'The replica has lost its primary.',
  MISCONF: 'Redis cannot write to its disk.',
  MOVED: 'The Redis cluster is being reshaped.',
  ASK: 'The Redis cluster is being reshaped.',
  NOAUTH: 'Redis wants a password: LEDGER_REDIS_URL has none.',
  NOPERM: "Redis refuses a command to the ledger's user.",
  NOREPLICAS: 'Too few replicas of Redis are there.',
  READONLY: 'This Redis is a replica; a primary is being chosen.',
  TRYAGAIN: 'The Redis cluster is being reshaped.',
  WRONGPASS: 'Redis refuses the password of LEDGER_REDIS_URL.',
};

/** The code of Redis' refusal, null for any other error. */
export function replyCode(thrown: unknown): string | null {
  if (!(thrown instanceof Error) || thrown.name !== 'ReplyError') return null;
  return thrown.message.split(' ', 1)[0]?.replace(/^-/, '') ?? null;
}

/** What a call to Redis threw: no memory or disk left is `ledger_full`, a lost or late answer `ledger_unavailable`. */
export function toLedgerError(thrown: unknown): SightlineError {
  if (thrown instanceof SightlineError) return thrown;
  const code = replyCode(thrown);
  if (code === 'OOM') return new SightlineError('ledger_full', 'Redis is at its maxmemory.', { cause: thrown });
  if (code !== null && MAY_PASS[code] === undefined) return new SightlineError('internal', undefined, { cause: thrown });
  return new SightlineError('ledger_unavailable', code === null ? undefined : MAY_PASS[code], { cause: thrown });
}
