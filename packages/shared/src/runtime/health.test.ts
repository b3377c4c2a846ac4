import { afterEach, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { Counter, Registry } from 'prom-client';
import { SightlineError } from './errors.ts';
import { openHealthServer, type HealthServer } from './health.ts';

let server: HealthServer | undefined;
afterEach(async () => {
  await server?.close();
});

async function open(ready: () => Promise<void>): Promise<string> {
  const registry = new Registry();
  new Counter({ name: 'things_total', help: 'things', registers: [registry] }).inc(3);
  const service = { name: 'test', ready, close: async () => undefined };
  server = await openHealthServer({ host: '127.0.0.1', port: 0 }, { service, registry, logger: pino({ level: 'silent' }) });
  return `http://127.0.0.1:${server.port}`;
}

test('alive, ready and measured', async () => {
  const url = await open(async () => undefined);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  expect(await (await fetch(`${url}/metrics`)).text()).toContain('things_total 3');
  expect((await fetch(`${url}/other`)).status).toBe(404);
});

test('not ready is said with its code, asked for once however many ask', async () => {
  let checks = 0;
  const url = await open(async () => {
    checks += 1;
    throw new SightlineError('encoder_unavailable');
  });
  const answers = await Promise.all(Array.from({ length: 5 }, () => fetch(`${url}/readyz`)));
  expect(answers.map(({ status }) => status)).toEqual([503, 503, 503, 503, 503]);
  expect(await answers[0]?.json()).toMatchObject({ status: 'not_ready', code: 'encoder_unavailable' });
  expect(checks).toBe(1);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
});
