/**
 * `npm run tenants -- delete <tenant>`: deletes everything of a tenant, beside a stack or without it, and says how many of each.
 * It asks for the name once more, unless --yes is given.
 */
import { createInterface } from 'node:readline/promises';
import { parseArgs } from 'node:util';
import { deleteTenant } from '@sightline/query-api/core/delete-tenant';
import { tenantName } from '@sightline/shared/contracts/api-key';
import { Closer } from '@sightline/shared/runtime/lifecycle';
import { sleep } from '@sightline/shared/runtime/sleep';
import { commandEngines, commandLogger } from './command-engines.ts';
import { runCommand } from './run-command.ts';

const USAGE = 'usage: npm run tenants -- delete <tenant> [--yes] [--json]';
/** Longer than a process of the stack remembers a key. */
const DRAIN_MS = 5_000;

async function run(closer: Closer): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      yes: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const [command, name, ...rest] = positionals;
  const tenant = tenantName.safeParse(name);
  if (values.help || command !== 'delete' || !tenant.success || rest.length > 0) {
    console.error(USAGE);
    return 2;
  }
  if (!values.yes && !(await isConfirmed(tenant.data))) {
    console.error('Nothing was deleted.');
    return 1;
  }
  const engines = commandEngines(closer);
  const ledger = await engines.ledger();
  const index = await engines.index();
  const store = await engines.store();
  const deletion = await deleteTenant({ ledger, index, store, now: Date.now, sleep, drainMs: DRAIN_MS }, tenant.data);
  if (values.json) {
    console.log(JSON.stringify(deletion, null, 2));
    return 0;
  }
  const { stored_objects: stored } = deletion;
  console.log(`Tenant ${deletion.tenant} is deleted:`);
  console.log(`  ${deletion.points} points of the index`);
  console.log(
    `  ${deletion.ingestions} ingestions (${deletion.cancelled_ingestions} were still going), ${deletion.failures} failures`,
  );
  console.log(`  its questions (${deletion.cancelled_questions} were not answered yet)`);
  console.log(
    `  ${stored.thumbnails} thumbnails, ${stored.queries} query pictures, ${stored.questions} pictures of questions, ${stored.reports} reports`,
  );
  console.log(`  ${deletion.api_keys} API keys`);
  return 0;
}

async function isConfirmed(tenant: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await terminal.question(`Everything of tenant ${tenant} goes for good. Type its name: `)) === tenant;
  } finally {
    terminal.close();
  }
}

if (import.meta.main) {
  const closer = new Closer(commandLogger);
  await runCommand(() => run(closer));
  await closer.closeAll(10_000);
}
