import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import { indexView, searchResponse } from '@sightline/shared/contracts/http';
import { migrationView, type MigrationView } from '@sightline/shared/contracts/migration-http';
import { ApiClient } from '../../scripts/api-client.ts';
import { runAudit } from '../harness/audit-command.ts';
import { ingest, startStack, waitForEnd, type Stack } from '../harness/stack.ts';

const PICTURES = fileURLToPath(new URL('../../sample/images/products', import.meta.url));
const OTHER_PACK = fileURLToPath(new URL('../fixtures/packs/tiny-clip', import.meta.url));
const TIMEOUT_MS = 240_000;
const COUNT = 150;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function scratch(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-migrate-'));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function start(dataDir: string): Promise<Stack> {
  const stack = await startStack({ dataDir });
  cleanups.push(() => stack.stop());
  return stack;
}

async function until(client: ApiClient, id: string, is: (view: MigrationView) => boolean): Promise<MigrationView> {
  for (const endsAt = Date.now() + 90_000; ; await sleep(20)) {
    const view = await client.get(`/v1/migrations/${id}`, migrationView);
    if (is(view)) return view;
    if (Date.now() > endsAt) throw new Error(`the migration does not get there: ${JSON.stringify(view)}`);
  }
}

/** The stack's services hear of a cut-over some moments later. */
async function followed(search: () => Promise<{ encoder: object }>, encoder: object | undefined): Promise<void> {
  for (const endsAt = Date.now() + 30_000; Date.now() < endsAt; await sleep(50))
    if (JSON.stringify((await search()).encoder) === JSON.stringify(encoder)) return;
}

test(
  'real packs: killed in every phase, the next start goes on, and after the cut-over the index keeps its new pack',
  async () => {
    const dataDir = scratch();
    const folder = join(scratch(), 'pictures');
    mkdirSync(folder);
    for (const name of readdirSync(PICTURES).toSorted().slice(0, COUNT)) cpSync(join(PICTURES, name), join(folder, name));
    const search = async (client: ApiClient) => {
      const { degraded, encoder } = await client.post('/v1/search', { query: 'red apple' }, searchResponse);
      return { degraded, encoder };
    };

    let stack = await start(dataDir);
    let client = new ApiClient(stack.url);
    expect(await waitForEnd(stack.url, await ingest(stack.url, { type: 'directory', path: folder }))).toMatchObject({
      status: 'completed',
      counts: { failed: 0 },
    });
    const before = await search(client);
    await expect(client.post('/v1/migrations', { pack: 'no-such-pack' }, migrationView)).rejects.toMatchObject({
      code: 'pack_not_found',
    });
    const bounds = { max_recall_loss: 1 };
    const { migration_id: id } = await client.post('/v1/migrations', { pack: OTHER_PACK, bounds }, migrationView);
    await until(client, id, ({ status }) => status !== 'waiting');
    await stack.kill();

    client = new ApiClient((stack = await start(dataDir)).url);
    expect(await until(client, id, ({ progress }) => progress.copied > 0)).toMatchObject({
      preview: { changed_spaces: ['image', 'text'], points: COUNT },
    });
    await stack.kill();

    client = new ApiClient((stack = await start(dataDir)).url);
    const ready = await until(client, id, ({ status, hold }) => status === 'ready' || hold !== null);
    expect(ready).toMatchObject({ status: 'ready', progress: { failed: 0, points: COUNT }, gate: { differences: 0 } });
    expect(await search(client)).toEqual(before);
    await client.post(`/v1/migrations/${id}/cut-over`, {}, migrationView);
    await stack.kill();

    client = new ApiClient((stack = await start(dataDir)).url);
    await until(client, id, ({ status }) => status === 'serving');
    await followed(() => search(client), ready.to?.encoder);
    const after = await search(client);
    expect(after).toMatchObject({ degraded: false, encoder: ready.to?.encoder });
    expect(after.encoder).not.toEqual(before.encoder);
    expect((await runAudit({ DATA_DIR: dataDir })).clean).toBe(true);

    await client.post(`/v1/migrations/${id}/roll-back`, {}, migrationView);
    await until(client, id, ({ status }) => status === 'rolled_back');
    await followed(() => search(client), before.encoder);
    expect(await search(client)).toEqual(before);

    const again = await client.post('/v1/migrations', { pack: OTHER_PACK, bounds, cut_over: 'auto' }, migrationView);
    await until(client, again.migration_id, ({ status }) => status === 'serving');
    await client.post(`/v1/migrations/${again.migration_id}/finish`, {}, migrationView);
    await stack.stop();

    // ENCODER_PACK still names the first pack.
    client = new ApiClient((stack = await start(dataDir)).url);
    expect(await search(client)).toEqual(after);
    expect(await client.get('/v1/index', indexView)).toMatchObject({ assets: COUNT, encoder: after.encoder });
    expect(await waitForEnd(stack.url, await ingest(stack.url, { type: 'directory', path: folder }))).toMatchObject({
      counts: { unchanged: COUNT },
    });
    expect((await runAudit({ DATA_DIR: dataDir })).clean).toBe(true);
  },
  TIMEOUT_MS,
);
