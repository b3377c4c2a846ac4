import { expect, test } from '@jest/globals';
import { openLogger } from './logger.ts';

test('lines are JSON with service, level by name and time; secrets are blotted out two levels deep', () => {
  const lines: string[] = [];
  const logger = openLogger({ service: 'test', level: 'info' }, { write: (line) => void lines.push(line) });
  logger.debug('not written');
  logger
    .child({ traceId: 'trace-1' })
    .info({ redisUrl: 'redis://u:p@h', config: { secrets: { password: 'hunter2' } }, url: 'kept' }, 'hello');
  expect(lines).toHaveLength(1);
  const line: unknown = JSON.parse(lines[0] ?? '');
  expect(line).toMatchObject({
    level: 'info',
    service: 'test',
    traceId: 'trace-1',
    redisUrl: '[redacted]',
    url: 'kept',
    msg: 'hello',
  });
  expect(lines[0]).not.toContain('hunter2');
});
