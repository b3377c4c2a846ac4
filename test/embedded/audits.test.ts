import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import { auditAccepted, auditFindingPage, auditView, type AuditView } from '@sightline/shared/contracts/audit-http';
import { ingestionAccepted, ingestionView } from '@sightline/shared/contracts/http';
import { ApiClient } from '../../scripts/api-client.ts';
import { startStack, type Stack } from '../harness/stack.ts';

const PICTURES = fileURLToPath(new URL('../../sample/images/products', import.meta.url));
const TIMEOUT_MS = 120_000;
const WAIT_MS = 60_000;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function over(client: ApiClient, self: string): Promise<AuditView> {
  for (const endsAt = performance.now() + WAIT_MS; ; await sleep(100)) {
    const view = await client.get(self, auditView);
    if (view.finished_at !== null) return view;
    if (performance.now() > endsAt) throw new Error(`the audit is ${view.status} still`);
  }
}

test(
  'an audit outlives a stack that is killed, and a repair mends what changed while none ran',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sightline-audits-'));
    cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
    const source = join(folder, 'pictures');
    mkdirSync(source);
    const [extra = '', ...names] = readdirSync(PICTURES).toSorted().slice(0, 31);
    for (const name of names) cpSync(join(PICTURES, name), join(source, name));
    const start = async (): Promise<Stack> => {
      const stack = await startStack({ dataDir: join(folder, 'data') });
      cleanups.push(() => stack.stop());
      return stack;
    };

    const first = await start();
    let client = new ApiClient(first.url);
    const ingestion = await client.post('/v1/ingestions', { source: { type: 'directory', path: source } }, ingestionAccepted);
    while ((await client.get(ingestion.links.self, ingestionView)).status !== 'completed') await sleep(50);
    const caught = await client.post('/v1/audits', { grace_seconds: 0 }, auditAccepted);
    await first.kill();

    cpSync(join(PICTURES, extra), join(source, extra));
    rmSync(join(source, names[0] ?? ''));
    client = new ApiClient((await start()).url);
    // Begun or not when it was killed, it is carried out.
    expect(await over(client, caught.links.self)).toMatchObject({ status: 'completed', result: { points: expect.any(Number) } });
    const repairing = await client.post('/v1/audits', { repair: true, grace_seconds: 0 }, auditAccepted);
    const { result } = await over(client, repairing.links.self);
    const { findings } = await client.get(repairing.links.findings, auditFindingPage);
    // Whoever watches the folder may have been quicker.
    expect(findings).toHaveLength(result?.listed ?? -1);
    for (let tries = 0; tries < 20; tries++) {
      const { links } = await client.post('/v1/audits', { grace_seconds: 1 }, auditAccepted);
      const audit = await over(client, links.self);
      if (!audit.result?.clean || audit.result.running.length > 0) continue;
      expect(audit.result).toMatchObject({ agreed: { indexed: 30 }, unreadable: [], running: [] });
      return;
    }
    throw new Error('the repair mended nothing');
  },
  TIMEOUT_MS,
);
