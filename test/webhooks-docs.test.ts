import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleepFor } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { freePort } from '@sightline/shared/testing/free-port';
import { Webhook } from 'standardwebhooks';

const root = fileURLToPath(new URL('..', import.meta.url));
const text = readFileSync(`${root}docs/webhooks.md`, 'utf8');
const SECRET = `whsec_${Buffer.from('a secret of thirty-two bytes len').toString('base64')}`;
const hasPython = spawnSync('python3', ['-c', 'import standardwebhooks']).status === 0;

const blockOf = (language: string): string => new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(text)?.[1] ?? '';

/** Runs a receiver of the document, posts to it, and answers the statuses and what it said. */
async function received(command: string, args: string[]): Promise<{ statuses: number[]; said: string[] }> {
  const port = await freePort();
  const env = { ...process.env, WEBHOOK_SECRET: SECRET, PORT: String(port), NODE_OPTIONS: '' };
  const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'ignore'] });
  const said: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => said.push(line));
  const body = '{"type":"question.answered","timestamp":"2026-03-01T12:00:00.000Z","data":{"answer":"散热器","sequence":7}}';
  const at = new Date();
  const headers = {
    'webhook-id': 'm-1',
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': `v1,AAAA ${new Webhook(SECRET).sign('m-1', at, body)}`,
  };
  const post = (sent: string) => fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers, body: sent });
  try {
    while (!(await post('').catch(() => null))) {
      if (child.exitCode !== null) throw new Error('The receiver ended.');
      await sleepFor(20);
    }
    const statuses = [];
    for (const sent of [body, body, body.replace('7', '8')]) statuses.push((await post(sent)).status);
    return { statuses, said };
  } finally {
    child.kill('SIGKILL');
    await once(child, 'close');
  }
}

const expected = { statuses: [204, 204, 400], said: ['m-1 question.answered 7'] };

test('the receiver in Node verifies, takes an id once, and refuses what was changed', async () => {
  expect(await received(process.execPath, ['--input-type=module', '-e', blockOf('js')])).toEqual(expected);
});

(hasPython ? test : test.skip)('the receiver in Python does the same', async () => {
  expect(await received('python3', ['-c', blockOf('python')])).toEqual(expected);
});
