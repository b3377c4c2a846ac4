import { spawn } from 'node:child_process';
import { expect, test } from '@jest/globals';

/** A process whose main is `body`, inside runMain; answers its exit code and output. */
function run(
  body: string,
  env: Record<string, string>,
  drive: (child: ReturnType<typeof spawn>, line: string) => void,
  fd3 = false,
) {
  const script = `
    import { runMain } from ${JSON.stringify(new URL('run-main.ts', import.meta.url).href)};
    await runMain({ service: 'test', settings: {}, env: process.env }, async ({ closer }) => {
      const idle = setInterval(() => undefined, 1000);
      closer.push('idle', () => clearInterval(idle));
      ${body}
      console.log('started');
    });`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'inherit', fd3 ? 'pipe' : 'ignore'],
  });
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
    for (const line of chunk.toString().split('\n')) drive(child, line);
  });
  return new Promise<{ code: number | null; output: string }>((resolve) =>
    child.on('close', (code) => resolve({ code, output })),
  );
}

test('SIGTERM closes in reverse order and ends with 0; the same signal twice at once is one', async () => {
  const body = `closer.push('first', async () => { await new Promise((r) => setTimeout(r, 200)); console.log('closed first'); }); closer.push('second', () => console.log('closed second'));`;
  const { code, output } = await run(body, {}, (child, line) => {
    if (line !== 'started') return;
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGTERM'), 50);
  });
  expect(code).toBe(0);
  expect(output.indexOf('closed second')).toBeLessThan(output.indexOf('closed first'));
});

test('a second signal, later, ends at once', async () => {
  const body = `closer.push('hangs', () => new Promise(() => undefined));`;
  const { code } = await run(body, {}, (child, line) => {
    if (line !== 'started') return;
    child.kill('SIGINT');
    setTimeout(() => child.kill('SIGINT'), 1_300);
  });
  expect(code).toBe(130);
});

test('what hangs is left behind at the deadline', async () => {
  const body = `closer.push('hangs', () => new Promise(() => undefined));`;
  const { code, output } = await run(
    body,
    { SHUTDOWN_DEADLINE_MS: '1000' },
    (child, line) => void (line === 'started' && child.kill('SIGTERM')),
  );
  expect(code).toBe(0);
  expect(output).toContain('close failed');
});

test('an error that nobody caught is logged, closes what is open and ends with 1', async () => {
  const body = `closer.push('open', () => console.log('closed')); setTimeout(() => { throw new Error('boom'); }, 50);`;
  const { code, output } = await run(body, {}, () => undefined);
  expect(code).toBe(1);
  expect(output).toContain('boom');
  expect(output).toContain('closed');
});

test('a start that fails closes what it had opened and ends with 1', async () => {
  const { code, output } = await run(
    `closer.push('open', () => console.log('closed')); throw new Error('no start');`,
    {},
    () => undefined,
  );
  expect(code).toBe(1);
  expect(output).toContain('no start');
  expect(output).toContain('closed');
});

test('it ends when the process at the other end of the pipe is gone', async () => {
  const { code } = await run(
    '',
    { SIGHTLINE_PARENT_PIPE: `3:${process.pid}` },
    (child, line) => void (line === 'started' && child.stdio[3]?.destroy()),
    true,
  );
  expect(code).toBe(1);
});

test('a grandchild that inherited the name of the pipe, and not the pipe, goes on', async () => {
  const { code, output } = await run(
    '',
    { SIGHTLINE_PARENT_PIPE: '3:1' },
    (child, line) => void (line === 'started' && child.kill('SIGTERM')),
  );
  expect({ code, output: output.includes('fatal') }).toEqual({ code: 0, output: false });
});

test('a log that cannot be opened is told in words, without a stack trace', async () => {
  const script = `
    import { runMain } from ${JSON.stringify(new URL('run-main.ts', import.meta.url).href)};
    const openLogger = () => { throw new Error('no place for a log'); };
    const onFatal = (error) => console.log('told:', error.detail ?? error.cause?.message ?? error.message);
    await runMain({ service: 'test', settings: {}, env: process.env, openLogger, onFatal }, async () => console.log('started'));`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    env: { PATH: process.env['PATH'] },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect(code).toBe(1);
  expect(output).toContain('told:');
  expect(output).not.toContain('    at ');
  expect(output).not.toContain('started');
});
