import { expect, test } from '@jest/globals';
import type { ApiKey, Ledger } from '../src/ports/ledger.ts';

const SOURCE = { type: 'directory', path: '/pictures' } as const;

/** What every Ledger does with API keys, and when a tenant goes: a part of ledgerContract. */
export function ledgerTenantContract(ledgerOf: () => Ledger): void {
  const apiKey = (keyId: string, more: Partial<ApiKey> = {}): ApiKey => ({
    keyId,
    tenant: 't',
    name: `name of ${keyId}`,
    secretHash: `hash-${keyId}`,
    scopes: ['read', 'ask'],
    createdAt: 5,
    expiresAt: null,
    revokedAt: null,
    lastUsedAt: null,
    ...more,
  });
  const ids = (keys: ApiKey[]) => keys.map(({ keyId }) => keyId);

  test('an API key is found by the hash of its secret, with all that was written down', async () => {
    const ledger = ledgerOf();
    const plain = apiKey('k1');
    const full = apiKey('k2', { scopes: ['admin'], expiresAt: 9, revokedAt: 8, lastUsedAt: 7 });
    await ledger.addApiKey(plain);
    await ledger.addApiKey(full);
    expect(await ledger.findApiKey('hash-k1')).toEqual(plain);
    expect(await ledger.findApiKey('hash-k2')).toEqual(full);
    expect(await ledger.findApiKey('k1')).toBeNull();
    expect(await ledger.findApiKey('')).toBeNull();
  });

  test('an id or a secret is there once', async () => {
    const ledger = ledgerOf();
    await ledger.addApiKey(apiKey('k1'));
    for (const again of [apiKey('k1', { secretHash: 'other' }), apiKey('k2', { secretHash: 'hash-k1', tenant: 'u' })]) {
      await expect(ledger.addApiKey(again)).rejects.toMatchObject({ code: 'api_key_exists' });
    }
    expect(await ledger.findApiKey('other')).toBeNull();
    expect(await ledger.findApiKey('hash-k1')).toEqual(apiKey('k1'));
    expect(ids(await ledger.listApiKeys(null))).toEqual(['k1']);
  });

  test('API keys are listed newest first, of one tenant or of all', async () => {
    const ledger = ledgerOf();
    await ledger.addApiKey(apiKey('k1', { createdAt: 1 }));
    await ledger.addApiKey(apiKey('k2', { createdAt: 3 }));
    await ledger.addApiKey(apiKey('k3', { createdAt: 2, tenant: 'u' }));
    expect(ids(await ledger.listApiKeys('t'))).toEqual(['k2', 'k1']);
    expect(ids(await ledger.listApiKeys(null))).toEqual(['k2', 'k3', 'k1']);
    expect(await ledger.listApiKeys('v')).toEqual([]);
  });

  test('an API key is changed in what is given alone', async () => {
    const ledger = ledgerOf();
    await ledger.addApiKey(apiKey('k1'));
    expect(await ledger.updateApiKey('k1', { revokedAt: 20 })).toEqual(apiKey('k1', { revokedAt: 20 }));
    const changed = apiKey('k1', { revokedAt: 20, expiresAt: 30, lastUsedAt: 40 });
    expect(await ledger.updateApiKey('k1', { expiresAt: 30, lastUsedAt: 40 })).toEqual(changed);
    expect(await ledger.updateApiKey('k1', {})).toEqual(changed);
    expect(await ledger.findApiKey('hash-k1')).toEqual(changed);
    expect(await ledger.updateApiKey('none', { revokedAt: 1 })).toBeNull();
    expect(await ledger.listApiKeys(null)).toEqual([changed]);
  });

  test('a tenant goes with its ingestions, chunks, failures and keys, and nobody else with it', async () => {
    const ledger = ledgerOf();
    const code = 'picture_corrupt' as const;
    for (const [ingestionId, tenant] of [
      ['i1', 't'],
      ['i2', 't'],
      ['i3', 'u'],
    ] as const) {
      await ledger.createIngestion({ ingestionId, tenant, source: SOURCE, createdAt: 1 });
      const failures = ['a', 'b', 'c'].map((key) => ({ key, code, reason: 'r' }));
      await ledger.addChunk(ingestionId, { chunkNo: 0, entries: [{}], listed: 3, failures, after: null, cursor: 'c', at: 10 });
      await ledger.addChunk(ingestionId, {
        chunkNo: 1,
        entries: [{}],
        listed: 0,
        failures: [],
        retried: ['c'],
        after: 'c',
        cursor: 'c',
        at: 11,
      });
      await ledger.addSuspect(ingestionId, 0, 'a');
    }
    await ledger.addApiKey(apiKey('k1'));
    await ledger.addApiKey(apiKey('k2', { tenant: 'u' }));
    expect(await ledger.deleteTenant('t')).toEqual({ ingestions: 2, failures: 4, apiKeys: 1 });
    expect(await ledger.deleteTenant('t')).toEqual({ ingestions: 0, failures: 0, apiKeys: 0 });
    expect(await ledger.getIngestion('t', 'i1')).toBeNull();
    expect(await ledger.takeChunk('i1', 0)).toBeNull();
    expect(await ledger.findApiKey('hash-k1')).toBeNull();
    await expect(ledger.failures('i1', { limit: 9 })).rejects.toMatchObject({ code: 'ingestion_not_found' });
    expect(await ledger.countOutstandingChunks({ tenant: 't' })).toBe(0);
    expect((await ledger.listIngestions(null, { limit: 9 })).map(({ ingestionId }) => ingestionId)).toEqual(['i3']);
    expect((await ledger.latestIngestions(null)).map(({ ingestionId }) => ingestionId)).toEqual(['i3']);
    expect(await ledger.outstandingChunks({ limit: 9 })).toHaveLength(2);
    expect(await ledger.countOutstandingChunks()).toBe(2);
    expect((await ledger.failures('i3', { limit: 9 })).failures).toHaveLength(2);
    expect(ids(await ledger.listApiKeys(null))).toEqual(['k2']);
    // The name of what is gone is free again.
    expect(await ledger.createIngestion({ ingestionId: 'i1', tenant: 'u', source: SOURCE, createdAt: 2 })).toMatchObject({
      tenant: 'u',
      nextChunkNo: 0,
      counts: { listed: 0 },
    });
    expect((await ledger.failures('i1', { limit: 9 })).failures).toEqual([]);
  });

  test("of a tenant's things only those from before a time may go", async () => {
    const ledger = ledgerOf();
    for (const [ingestionId, createdAt] of [
      ['i1', 5],
      ['i2', 6],
      ['i3', 7],
    ] as const)
      // prettier-ignore
      await ledger.createIngestion({ ingestionId, tenant: 't', source: SOURCE, createdAt });
    await ledger.addApiKey(apiKey('k1', { createdAt: 6 }));
    await ledger.addApiKey(apiKey('k2', { createdAt: 7 }));
    expect(await ledger.deleteTenant('t', { createdUpTo: 6 })).toEqual({ ingestions: 2, failures: 0, apiKeys: 1 });
    expect((await ledger.listIngestions('t', { limit: 9 })).map(({ ingestionId }) => ingestionId)).toEqual(['i3']);
    expect(ids(await ledger.listApiKeys('t'))).toEqual(['k2']);
  });
}
