import { createHash } from 'node:crypto';

/**
 * A Lua script. The shebang needs Redis 7 and has it check that all keys lie in one slot. `full` says what becomes of it when
 * Redis is at maxmemory: what makes room, or has to go on so that others can, is not refused.
 */
export interface RedisScript {
  sha: string;
  lua: string;
}

export function redisScript(lua: string, how: { full: 'refuse' | 'allow' } | 'reads'): RedisScript {
  const flags = how === 'reads' ? ' flags=no-writes' : how.full === 'allow' ? ' flags=allow-oom' : '';
  const text = `#!lua${flags}\n${lua}`;
  return { lua: text, sha: createHash('sha1').update(text).digest('hex') };
}
