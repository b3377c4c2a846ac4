import { expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { openRecordingServer } from '@sightline/shared/testing/recording-server';
import { TEST_CERTIFICATES } from '@sightline/shared/testing/test-certificates';

const MODULE = new URL('guarded-http-client.ts', import.meta.url).href;

/** The environment is read by Node itself, at its start: a process of its own has this one. */
async function codesIn(env: Record<string, string>, urls: string[], allowAddresses: string[]): Promise<unknown> {
  const program = `
    import { openGuardedHttpClient } from ${JSON.stringify(MODULE)};
    const client = openGuardedHttpClient({ allowHttp: true, allowAddresses: ${JSON.stringify(allowAddresses)}, lookup: async () => ['127.0.0.1'] });
    const codes = [];
    for (const url of ${JSON.stringify(urls)})
      codes.push(await client.request({ method: 'GET', url, timeoutMs: 20_000, maxResponseBytes: 1_000 }).then(({ status }) => status, ({ code }) => code));
    console.log(JSON.stringify(codes));`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(await text(child.stdout));
}

test('no proxy of the environment is asked, and no variable turns the check of certificates off', async () => {
  const { cert, key, name } = TEST_CERTIFICATES;
  const proxy = await openRecordingServer();
  const receiver = await openRecordingServer();
  const uncertified = await openRecordingServer({ tls: { cert, key } });
  const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'http_proxy', 'https_proxy', 'all_proxy'];
  const env = Object.fromEntries(names.map((name) => [name, `http://127.0.0.1:${proxy.port}`]));
  const codes = await codesIn(
    { ...env, NODE_USE_ENV_PROXY: '1', NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' },
    [`http://receiver.example.com:${receiver.port}/`, `https://${name}:${uncertified.port}/`],
    [`127.0.0.1:${receiver.port}`, `127.0.0.1:${uncertified.port}`],
  );
  expect(codes).toEqual([200, 'url_unreachable']);
  expect([proxy.connections(), receiver.connections(), uncertified.requests]).toEqual([0, 1, []]);
  await Promise.all([proxy.close(), receiver.close(), uncertified.close()]);
});
