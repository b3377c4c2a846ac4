/**
 * `npm run changes [-- retry] [--json]`: what the index does not show yet of what changed, and what could not be followed, of a running
 * stack; `retry` has all that failed tried again.
 */
import { parseArgs } from 'node:util';
import { changeFailurePage, changesRetried, changesView, type ChangeFailurePage } from '@sightline/shared/contracts/changes-http';
import { clientFromEnvironment, type ApiClient } from './api-client.ts';
import { printable } from './printable.ts';
import { runCommand } from './run-command.ts';

const USAGE = 'usage: npm run changes [-- retry] [--json]';
const SHOWN = 20;

async function show(client: ApiClient, asJson: boolean): Promise<void> {
  const owed = await client.get('/v1/changes', changesView);
  const { failures, next_cursor: more } = await client.get(
    `/v1/changes/failures?limit=${asJson ? 1_000 : SHOWN}`,
    changeFailurePage,
  );
  if (asJson) {
    console.log(JSON.stringify({ ...owed, failures, more: more !== null }, null, 2));
    return;
  }
  const since = owed.oldest_seconds === null ? '' : `, the oldest for ${Math.round(owed.oldest_seconds)} s`;
  console.log(`${owed.owed} changes are not shown yet${since}`);
  if (failures.length === 0) console.log('no change failed');
  for (const failure of failures)
    console.log(`  ${failure.failed_at}  ${failure.code.padEnd(26)} ${printable(placeOf(failure))}`);
  if (more !== null) console.log(`  and more; --json shows up to a thousand`);
}

function placeOf(failure: ChangeFailurePage['failures'][number]): string {
  return failure.kind === 'item' ? `item ${failure.item_id}` : `${failure.bucket}/${failure.key}`;
}

await runCommand(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
  });
  const [command, ...rest] = positionals;
  if (values.help || rest.length > 0 || (command !== undefined && command !== 'retry')) {
    console.error(USAGE);
    return 2;
  }
  const client = clientFromEnvironment();
  if (command === 'retry') {
    const { retried } = await client.post('/v1/changes/retry', {}, changesRetried);
    console.log(
      values.json
        ? JSON.stringify({ retried })
        : retried === 1
          ? '1 failed change is tried again'
          : `${retried} failed changes are tried again`,
    );
  } else await show(client, values.json);
  return 0;
});
