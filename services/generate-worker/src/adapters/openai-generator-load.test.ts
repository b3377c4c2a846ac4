import { afterEach, expect, test } from '@jest/globals';
import { freePort } from '@sightline/shared/testing/free-port';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { closeRigs, openRig, openServer, until } from '../testing/generator-rig.ts';

afterEach(closeRigs);

test('the limit grows while answers come, up to its bound, and never more are with the server', async () => {
  const server = await openServer({ always: { text: 'Yes [1].', firstTokenMs: 5 } });
  const { ask, generator, metric } = openRig(server.baseUrl, { inFlight: 12 });
  expect(generator.limit()).toBe(4);
  await Promise.all(Array.from({ length: 80 }, () => ask().answer));
  expect(generator.limit()).toBe(12);
  expect(server.capacity.mostAtOnce).toBeGreaterThan(4);
  expect(server.capacity.mostAtOnce).toBeLessThanOrEqual(12);
  expect(await metric('sightline_generator_limit')).toEqual(['sightline_generator_limit 12']);
  expect(await metric('sightline_generator_in_flight')).toEqual(['sightline_generator_in_flight 0']);
});

test('questions over the limit wait in order; one that is given up leaves without being asked', async () => {
  const server = await openServer({ always: { firstTokenMs: 20 } });
  const { ask } = openRig(server.baseUrl, { inFlight: 1 });
  const asked = ['a', 'b', 'c', 'd'].map((text) => ask({ system: '', content: [{ type: 'text', text }] }));
  const reason = new Error('no longer wanted');
  asked[2]!.abort(reason);
  await expect(asked[2]!.answer).rejects.toBe(reason);
  await Promise.all([0, 1, 3].map((n) => asked[n]!.answer));
  expect(server.requests.map(({ text }) => text)).toEqual(['a', 'b', 'd']);
});

test('a full server halves the limit, once for all that it refused together, and is left alone for as long as it says', async () => {
  const server = await openServer();
  const { ask, generator } = openRig(server.baseUrl);
  await Promise.all(Array.from({ length: 12 }, () => ask().answer));
  const before = generator.limit();
  expect(before).toBeGreaterThan(8);
  const count = server.requests.length;
  server.play(...Array.from({ length: 4 }, () => ({ status: 429, retryAfterS: 2 })));
  const refused = await Promise.allSettled(Array.from({ length: 4 }, () => ask().answer));
  expect(refused.map((one) => one.status === 'rejected' && one.reason.code)).toEqual(Array(4).fill('generator_unavailable'));
  expect(generator.limit()).toBe(0);
  const next = ask();
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(server.requests.length).toBe(count + 4);
  await next.answer;
  expect(generator.limit()).toBe(Math.floor(before / 2));
});

test('a time-out halves the limit', async () => {
  const server = await openServer();
  const { ask, generator } = openRig(server.baseUrl, { firstTokenTimeoutMs: 500 });
  server.play({ instead: 'hang' });
  await expect(ask().answer).rejects.toMatchObject({ code: 'generator_timeout' });
  expect(generator.limit()).toBe(2);
});

test('while questions wait in vLLM the limit shrinks to what it works on', async () => {
  const server = await openServer({ slots: 2, metrics: true, ownedBy: 'vllm', always: { text: 'Yes.', firstTokenMs: 10 } });
  const { ask, generator } = openRig(server.baseUrl, { metricsEveryMs: 10 });
  let isOver = false;
  let least = Infinity;
  const asking = Array.from({ length: 16 }, async () => {
    while (!isOver) {
      await ask().answer;
      least = Math.min(least, generator.limit());
    }
  });
  await until(() => least <= 2);
  isOver = true;
  await Promise.all(asking);
  expect(server.capacity.mostAtOnce).toBe(2);
});

test('without such metrics it is asked for them once', async () => {
  let looks = 0;
  const counting = createServer((_, response) => {
    looks++;
    response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => counting.listen(0, '127.0.0.1', resolve));
  const address = counting.address();
  const metricsUrl = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}/metrics`;
  const server = await openServer({ always: { firstTokenMs: 300 } });
  const { ask, logs } = openRig(server.baseUrl, { metricsUrl, metricsEveryMs: 10 });
  await ask().answer;
  await ask().answer;
  expect(looks).toBe(1);
  expect(logs.filter((line) => line.includes('shows no load')).length).toBe(1);
  await closeRigs();
  counting.closeAllConnections();
  await new Promise((resolve) => counting.close(resolve));
});

test('a server that fails again and again is left alone and probed, and asked again once it answers', async () => {
  const server = await openServer({ always: { status: 500 } });
  const { ask, generator, metric } = openRig(server.baseUrl, { failuresToOpen: 3, inFlight: 1 });
  const asked = Array.from({ length: 5 }, () => ask());
  const ends = await Promise.allSettled(asked.map(({ answer }) => answer));
  expect(ends.map((one) => one.status === 'rejected' && one.reason.code)).toEqual(Array(5).fill('generator_unavailable'));
  // Those that waited behind were not sent.
  expect(server.requests.length).toBe(3);
  expect(generator.limit()).toBe(0);
  expect(await metric('sightline_generator_circuit_open')).toEqual(['sightline_generator_circuit_open 1']);
  await expect(ask().answer).rejects.toMatchObject({ code: 'generator_unavailable' });
  expect(server.requests.length).toBe(3);
  server.always({});
  await until(() => generator.limit() > 0);
  await expect(ask().answer).resolves.toMatchObject({ finishReason: 'stop' });
});

test('answers between failures, refusals and full queues do not add up to a server that is down', async () => {
  const server = await openServer();
  const { ask, generator } = openRig(server.baseUrl, { failuresToOpen: 3 });
  server.play(
    { status: 500 },
    { status: 500 },
    {},
    { status: 500 },
    { status: 500 },
    { status: 400 },
    { status: 500 },
    { status: 500 },
  );
  for (let n = 0; n < 8; n++) await ask().answer.catch(() => undefined);
  server.play(...Array.from({ length: 6 }, () => ({ status: 429 })));
  for (let n = 0; n < 6; n++) await ask().answer.catch(() => undefined);
  expect(generator.limit()).toBe(1);
  expect(server.requests.length).toBe(14);
});

async function startProcess(port: number): Promise<ChildProcess> {
  const main = fileURLToPath(new URL('../testing/scripted-model-process.ts', import.meta.url));
  const child = spawn(process.execPath, [main, String(port), JSON.stringify({ always: { tokenMs: 20 } })], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return child;
}

test('a server that is killed in the middle of an answer, and comes back', async () => {
  const port = await freePort();
  const first = await startProcess(port);
  const { ask, generator } = openRig(`http://127.0.0.1:${port}/v1`, { failuresToOpen: 2 });
  const { answer, pieces } = ask();
  await until(() => pieces.length > 1);
  first.kill('SIGKILL');
  await expect(answer).rejects.toMatchObject({ code: 'generator_malformed', retryable: true });
  for (let n = 0; n < 2; n++) await expect(ask().answer).rejects.toMatchObject({ code: 'generator_unavailable' });
  expect(generator.limit()).toBe(0);
  await expect(generator.ready()).rejects.toMatchObject({ code: 'generator_unavailable' });
  const second = await startProcess(port);
  try {
    await until(() => generator.limit() > 0);
    await expect(ask().answer).resolves.toMatchObject({ finishReason: 'stop' });
  } finally {
    second.kill('SIGKILL');
  }
});

test('closing ends what is asked and what waits, and leaves nothing behind', async () => {
  const server = await openServer({ always: { instead: 'hang' } });
  const { ask, generator } = openRig(server.baseUrl, { inFlight: 1 });
  const asked = [ask(), ask()];
  await until(() => server.requests.length === 1);
  await generator.close();
  for (const { answer } of asked) await expect(answer).rejects.toMatchObject({ code: 'generator_unavailable' });
  await until(() => server.requests[0]!.isCancelled);
});
