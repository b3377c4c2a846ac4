import { afterEach, expect, test } from '@jest/globals';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { TINY_MODEL, TINY_PACK } from '../testing/tiny-pack.ts';
import { ModelServerChild } from './model-server-child.ts';

const closers: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function opened(): Promise<ModelServerChild> {
  const server = await ModelServerChild.open({ packDirectory: TINY_PACK, logger: pino({ level: 'silent' }) });
  closers.push(() => server.close());
  return server;
}

/** The first model that it lists; null while nobody listens. */
async function served({ place: { baseUrl, apiKey } }: ModelServerChild, key = apiKey): Promise<string | number | null> {
  const headers = { authorization: `Bearer ${key}` };
  const answer = await fetch(`${baseUrl}/models`, { headers }).catch(() => null);
  if (!answer?.ok) return answer?.status ?? null;
  const { data } = (await answer.json()) as { data: { id: string }[] };
  return data[0]?.id ?? null;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('killed, it is another process at the same address, with the same key', async () => {
  const server = await opened();
  const { place, pid } = server;
  expect(await served(server)).toBe(TINY_MODEL);
  expect(await served(server, 'another key')).toBe(401);
  process.kill(pid!, 'SIGKILL');
  while (isAlive(pid!)) await sleep(10);
  while ((await served(server)) === null) await sleep(20);
  expect(await served(server)).toBe(TINY_MODEL);
  expect(server.place).toEqual(place);
  expect(server.pid).not.toBe(pid);
});

test('killed while it answers, the answer breaks off, and the next one is whole', async () => {
  const server = await opened();
  const { baseUrl, apiKey } = server.place;
  const ask = (maxTokens: number) =>
    fetch(`${baseUrl}/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}` },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'a' }], stream: true, temperature: 0, max_tokens: maxTokens }),
    });
  const answer = await ask(6_000);
  process.kill(server.pid!, 'SIGKILL');
  await expect(answer.text()).rejects.toThrow();
  while ((await served(server)) === null) await sleep(20);
  expect(await (await ask(3)).text()).toContain('[DONE]');
});

test('a pack that cannot be served is told with its code', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sightline-no-pack-'));
  closers.push(() => rmSync(folder, { recursive: true }));
  const open = (packDirectory: string) => ModelServerChild.open({ packDirectory, logger: pino({ level: 'silent' }) });
  await expect(open(join(folder, 'none'))).rejects.toMatchObject({ code: 'pack_not_found' });
  await expect(open(folder)).rejects.toMatchObject({
    code: 'pack_invalid',
    detail: expect.stringContaining('config.json is missing'),
  });
});

test('what fails beside the pack is told with its reason', async () => {
  const packDirectory = mkdtempSync(join(tmpdir(), 'sightline-deep-pack-'));
  closers.push(() => rmSync(packDirectory, { recursive: true }));
  cpSync(TINY_PACK, packDirectory, { recursive: true });
  // So deep that it cannot be handed to the computing thread.
  const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
  const file = join(packDirectory, 'tokenizer.json');
  writeFileSync(file, readFileSync(file, 'utf8').replace('{', `{"deep":${deep},`));
  await expect(ModelServerChild.open({ packDirectory, logger: pino({ level: 'silent' }) })).rejects.toMatchObject({
    code: 'generator_unavailable',
    detail: expect.stringContaining('call stack'),
  });
});

test('where its port is taken while it is started again, it is asked at another, and its key is told to nobody', async () => {
  const server = await opened();
  const { baseUrl, apiKey } = server.place;
  const look = () =>
    server.fetch(`${baseUrl}/models`, { headers: { authorization: `Bearer ${apiKey}` } }).then(
      ({ status }) => status,
      () => null,
    );
  expect(await look()).toBe(200);
  const { pid } = server;
  process.kill(pid!, 'SIGKILL');
  while (server.pid === pid) await sleep(1);
  let asked = 0;
  const squatter = createServer((_, response) => response.end(String(asked++)));
  closers.push(() => void squatter.close());
  // The process in its place loads a pack before it listens.
  await once(squatter.listen(Number(new URL(baseUrl).port), '127.0.0.1'), 'listening');
  while ((await look()) === null) await sleep(20);
  expect(await look()).toBe(200);
  expect(server.place.baseUrl).not.toBe(baseUrl);
  expect(asked).toBe(0);
});

test('it tells what the pack says of its model', async () => {
  const { profile } = await opened();
  expect(profile).toEqual({
    model: TINY_MODEL,
    maxImages: 4,
    imageSidePx: 32,
    boxFrame: 'thousand',
    contextTokens: 8_192,
    tokensPerImage: 16,
    logprobs: true,
  });
});

test('what a terminal sends to all of its processes does not end it before its parent does', async () => {
  const server = await opened();
  const { pid } = server;
  process.kill(pid!, 'SIGINT');
  process.kill(pid!, 'SIGTERM');
  // A signal is told in the order of what else comes: who answers twice after it has had it.
  for (let n = 0; n < 10; n++) expect(await served(server)).toBe(TINY_MODEL);
  expect(server.pid).toBe(pid);
  await server.close();
  while (isAlive(pid!)) await sleep(10);
});

test('closed while it is started again, it leaves no process behind', async () => {
  const server = await opened();
  process.kill(server.pid!, 'SIGKILL');
  const { pid } = server;
  while (server.pid === pid) await sleep(1);
  await server.close();
  while (isAlive(server.pid!)) await sleep(10);
  expect(await served(server)).toBeNull();
});

test('where no process can be started for a while, its parent lives and tries again', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sightline-parent-'));
  closers.push(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'parent.mjs');
  // A process of its own, because what nobody catches would be the test runner's.
  writeFileSync(
    file,
    `import { ModelServerChild } from ${JSON.stringify(join(import.meta.dirname, 'model-server-child.ts'))};
     const { execPath } = process;
     let failures = 0;
     const logger = { info() {}, error: ({ attempt }) => { if (attempt && ++failures === 2) process.execPath = execPath; } };
     const server = await ModelServerChild.open({ packDirectory: ${JSON.stringify(TINY_PACK)}, logger });
     process.execPath = '/no/such/program';
     process.kill(server.pid, 'SIGKILL');
     const { baseUrl, apiKey } = server.place;
     const look = () => fetch(baseUrl + '/models', { headers: { authorization: 'Bearer ' + apiKey } }).then(({ status }) => status, () => null);
     while (failures < 2 || (await look()) !== 200) await new Promise((resolve) => setTimeout(resolve, 20));
     process.send(failures);
     await server.close();
     process.disconnect();`,
  );
  const parent = fork(file, [], { execArgv: [], stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  const [failures, code] = await Promise.all([
    new Promise((resolve) => parent.once('message', resolve).once('exit', () => resolve('it ended'))),
    new Promise((resolve) => parent.once('exit', resolve)),
  ]);
  expect(failures).toBe(2);
  expect(code).toBe(0);
});
