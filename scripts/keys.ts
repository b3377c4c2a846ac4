/**
 * `npm run keys -- create | list | revoke | rotate`: the API keys of a stack, beside it or without it. It opens the ledger by the
 * settings of the services.
 */
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { z } from 'zod';
import {
  createApiKey,
  isInForce,
  revokeApiKey,
  rotateApiKey,
  viewOfApiKey,
  type ApiKeyDeps,
} from '@sightline/query-api/core/api-keys';
import { keyId as keyIdSchema, keyName, scope, tenantName } from '@sightline/shared/contracts/api-key';
import type { ApiKey, Ledger } from '@sightline/shared/ports/ledger';
import { Closer } from '@sightline/shared/runtime/lifecycle';
import { commandEngines } from './command-engines.ts';
import { printable } from './printable.ts';
import { runCommand } from './run-command.ts';

const USAGE = `usage: npm run keys -- <command>
  create --tenant <t> --name <n> --scopes read,ingest,ask,admin [--expires 90d]
                                   makes a key and shows its secret, once
  list [--tenant <t>] [--json]     all keys, newest first; never a secret
  revoke <id>                      ends a key within seconds
  rotate <id> [--overlap 24h]      makes a key in place of one, which works on for so long`;

const UNITS_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 24 * 3_600_000 } as const;

/** Such as 90d, 24h, 30m, 45s. */
const duration = z
  .string()
  .regex(/^\d{1,6}[smhd]$/, 'expected a time such as 90d, 24h or 30m')
  .transform((text) => Number(text.slice(0, -1)) * (UNITS_MS[text.slice(-1) as keyof typeof UNITS_MS] ?? 0));

const created = z.strictObject({
  tenant: tenantName,
  name: keyName,
  scopes: z
    .string()
    .transform((text) => text.split(',').map((one) => one.trim()))
    .pipe(z.array(scope).min(1)),
  expires: duration.optional(),
});

async function run(closer: Closer): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      tenant: { type: 'string' },
      name: { type: 'string' },
      scopes: { type: 'string' },
      expires: { type: 'string' },
      overlap: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const [command, id, ...rest] = positionals;
  const wantsId = command === 'revoke' || command === 'rotate';
  if (values.help || rest.length > 0 || (id !== undefined) !== wantsId) return usage();
  const open = async (): Promise<Ledger> => commandEngines(closer).ledger();
  const depsOf = (ledger: Ledger): ApiKeyDeps => ({ ledger, now: Date.now, randomBytes });
  switch (command) {
    case 'create': {
      const { tenant, name, scopes, expires } = parsed(created, {
        tenant: values.tenant,
        name: values.name,
        scopes: values.scopes,
        expires: values.expires,
      });
      const expiresAt = expires === undefined ? null : Date.now() + expires;
      const issued = await createApiKey(depsOf(await open()), { tenant, name, scopes, expiresAt });
      tell(issued.key, issued.secret);
      return 0;
    }
    case 'list': {
      const keys = await (await open()).listApiKeys(values.tenant ?? null);
      if (values.json) console.log(JSON.stringify(keys.map(viewOfApiKey), null, 2));
      else if (keys.length === 0) console.log('There are no keys.');
      else for (const key of keys) console.log(lineOf(key, Date.now()));
      return 0;
    }
    case 'revoke': {
      const key = await revokeApiKey(depsOf(await open()), null, parsed(keyIdSchema, id));
      console.log(`Revoked ${key.keyId} (${printable(key.name)}) of tenant ${key.tenant}: it ends within seconds.`);
      return 0;
    }
    case 'rotate': {
      const overlapMs = parsed(duration, values.overlap ?? '24h');
      const rotated = await rotateApiKey(depsOf(await open()), null, { keyId: parsed(keyIdSchema, id), overlapMs });
      console.log(`The old key ${rotated.replaced.keyId} works until ${timeOf(rotated.replaced.expiresAt)}.`);
      tell(rotated.key, rotated.secret);
      return 0;
    }
    default:
      return usage();
  }
}

function usage(): number {
  console.error(USAGE);
  return 2;
}

/** What is wrong in words, each with its option. */
function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) =>
    path.length > 0 ? `--${path.join('.')}: ${message}` : message,
  );
  throw new Error(`${problems.join('\n')}\n\n${USAGE}`);
}

/** The secret stands alone on the last line, so that it can be piped on. */
function tell(key: ApiKey, secret: string): void {
  console.log(lineOf(key, Date.now()));
  console.log('The secret, shown this once; only its hash is kept:');
  console.log(secret);
}

function lineOf(key: ApiKey, now: number): string {
  const { keyId, tenant, name, scopes, lastUsedAt, expiresAt } = key;
  const state = key.revokedAt !== null ? `revoked ${timeOf(key.revokedAt)}` : isInForce(key, now) ? 'in force' : 'expired';
  const until = expiresAt === null ? 'no end' : `until ${timeOf(expiresAt)}`;
  return `${keyId}  ${tenant}  ${scopes.join(',')}  ${printable(name)}  ${state}, ${until}, last used ${timeOf(lastUsedAt)}`;
}

function timeOf(ms: number | null): string {
  return ms === null ? 'never' : new Date(ms).toISOString();
}

if (import.meta.main) {
  const closer = new Closer(pino({ level: 'warn' }, pino.destination(2)));
  await runCommand(() => run(closer));
  await closer.closeAll(10_000);
}
