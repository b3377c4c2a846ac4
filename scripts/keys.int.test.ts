import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { SqliteLedger } from '@sightline/shared/adapters/sqlite-ledger';
import { openSqliteVectorIndex } from '@sightline/shared/adapters/sqlite-vector-index';
import { hashOfSecret } from '@sightline/query-api/core/api-keys';
import { isSecret } from '@sightline/shared/contracts/api-key';
import { dataFiles } from '@sightline/shared/runtime/open-engines';

let dataDir: string;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'sightline-keys-'));
});
afterAll(() => rm(dataDir, { recursive: true, force: true }));

function run(script: string, args: string[], input = ''): Promise<{ code: number | null; output: string }> {
  const file = fileURLToPath(new URL(script, import.meta.url));
  const env = { ...process.env, DATA_DIR: dataDir, NODE_OPTIONS: '--disable-warning=ExperimentalWarning' };
  const child = spawn(process.execPath, [file, ...args], { env });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stdin.end(input);
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, output })));
}

async function stored() {
  const ledger = await SqliteLedger.open({ file: dataFiles(dataDir).ledger });
  try {
    return await ledger.listApiKeys(null);
  } finally {
    await ledger.close();
  }
}

test('a key is made before any stack ran, rotated, revoked and listed; its secret is shown once', async () => {
  const created = await run('keys.ts', [
    'create',
    '--tenant',
    'acme',
    '--name',
    'shop',
    '--scopes',
    'read,ingest',
    '--expires',
    '90d',
  ]);
  expect(created.code).toBe(0);
  const secret = created.output.trim().split('\n').at(-1) ?? '';
  expect(isSecret(secret)).toBe(true);
  const [key] = await stored();
  expect(key).toMatchObject({ tenant: 'acme', name: 'shop', scopes: ['read', 'ingest'], secretHash: hashOfSecret(secret) });
  expect((key?.expiresAt ?? 0) - (key?.createdAt ?? 0)).toBeGreaterThan(89.9 * 24 * 3_600_000);

  const rotated = await run('keys.ts', ['rotate', key?.keyId ?? '', '--overlap', '30m']);
  const next = rotated.output.trim().split('\n').at(-1) ?? '';
  expect(isSecret(next) && next !== secret).toBe(true);
  const [newest, old] = await stored();
  expect(newest).toMatchObject({ tenant: 'acme', name: 'shop', scopes: ['read', 'ingest'], secretHash: hashOfSecret(next) });
  expect((old?.expiresAt ?? 0) - Date.now()).toBeLessThan(30 * 60_000);

  expect((await run('keys.ts', ['revoke', newest?.keyId ?? ''])).code).toBe(0);
  const list = await run('keys.ts', ['list']);
  expect(list.output).toMatch(/acme {2}read,ingest {2}shop {2}revoked/);
  expect(list.output).not.toMatch(/sl_|[0-9a-f]{64}/);
}, 60_000);

test('mistakes are said in words, and make nothing', async () => {
  const before = (await stored()).length;
  for (const [args, code, said] of [
    [[], 2, 'usage'],
    [['create', '--tenant', 'A/b', '--name', 'n', '--scopes', 'root', '--expires', 'soon'], 1, '--expires'],
    [['revoke', '0000000000000'], 1, 'There is no such API key'],
  ] as const) {
    const { code: ended, output } = await run('keys.ts', [...args]);
    expect({ args, ended, trace: output.includes('    at ') }).toEqual({ args, ended: code, trace: false });
    expect(output).toContain(said);
  }
  expect((await stored()).length).toBe(before);
}, 60_000);

test('a tenant is deleted by its name typed once more, and the count of each is said', async () => {
  const spec = { image: { fingerprint: 'i', dimensions: 4 }, text: { fingerprint: 't', dimensions: 4 } };
  await (await openSqliteVectorIndex({ file: dataFiles(dataDir).index, spec })).close();
  await run('keys.ts', ['create', '--tenant', 'gone', '--name', 'n', '--scopes', 'read']);
  const refused = await run('tenants.ts', ['delete', 'gone'], 'other\n');
  expect({ code: refused.code, kept: (await stored()).some(({ tenant }) => tenant === 'gone') }).toEqual({ code: 1, kept: true });
  const done = await run('tenants.ts', ['delete', 'gone'], 'gone\n');
  expect(done.code).toBe(0);
  expect(done.output).toContain('1 API keys');
  expect((await stored()).some(({ tenant }) => tenant === 'gone')).toBe(false);
}, 60_000);
