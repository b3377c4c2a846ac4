import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import { readRun } from './evaluation/run.ts';
import { openScriptedStack } from './evaluation/testing/scripted-stack.ts';
import { runOf } from './evaluation/testing/run-builder.ts';

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

function evaluation(...flags: string[]): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const script = fileURLToPath(new URL('./eval.ts', import.meta.url));
  const env = { ...process.env, NODE_OPTIONS: '--disable-warning=ExperimentalWarning' };
  return new Promise((resolve) => {
    execFile(process.execPath, [script, ...flags], { env }, (error, stdout, stderr) => {
      resolve({ exitCode: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

async function files(contents: Record<string, unknown>): Promise<(name: string) => string> {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-eval-'));
  folders.push(folder);
  for (const [name, content] of Object.entries(contents)) await writeFile(join(folder, name), JSON.stringify(content));
  return (name) => join(folder, name);
}

const right = (from: number) => Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`q${i}`, i < from ? 1 : 0]));

test('two runs are compared, and a run that does not keep to its bounds ends with its own code', async () => {
  const at = await files({
    'before.json': runOf({ 'answers.picture.accuracy': right(10) }),
    'after.json': runOf({ 'answers.picture.accuracy': right(30) }),
    'kept.json': { 'answers.picture.accuracy': { min: 0.75 } },
    'broken.json': { 'answers.picture.accuracy': { min: 0.8 }, 'answers.text.accuracy': { min: 0 } },
  });
  const [compared, kept, broken] = await Promise.all([
    evaluation('compare', at('before.json'), at('after.json')),
    evaluation('check', at('after.json'), '--bounds', at('kept.json')),
    evaluation('check', at('after.json'), '--bounds', at('broken.json')),
  ]);
  expect(compared.exitCode).toBe(0);
  expect(compared.stdout).toMatch(/answers\.picture\.accuracy +40 +0\.250 +0\.750 +0\.500 +\[0\.\d+, 0\.\d+\] +better/);
  expect(kept).toMatchObject({ exitCode: 0, stderr: '' });
  expect(broken).toMatchObject({
    exitCode: 3,
    stderr:
      'out of bounds: answers.picture.accuracy is 0.75, below 0.8.\nout of bounds: answers.text.accuracy was not measured.\n',
  });
});

test('what is wrong is said before anything is started', async () => {
  const at = await files({ 'bounds.json': { x: {} } });
  const [usage, none, bounds, judge, language, adapter] = await Promise.all([
    evaluation('--sample', '--set', 'x'),
    evaluation('--set', at('')),
    evaluation('--sample', '--bounds', at('bounds.json')),
    evaluation('--sample', '--judge-model', 'x'),
    evaluation('--sample', '--languages', 'zh'),
    evaluation('--sample', '--adapter', '../x'),
  ]);
  expect(usage).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('usage: npm run eval') });
  expect(none).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('neither questions.jsonl nor recall.jsonl') });
  expect(bounds).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('a bound needs min, max, min_low or max_high') });
  expect(judge).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('--judge-url and --judge-model together') });
  expect(language).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('--languages is en or en,zh') });
  expect(adapter).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('the name of an adapter') });
});

test('what broke on the way leaves a run of what was measured, and no success', async () => {
  const stack = await openScriptedStack(() => 'cut');
  try {
    const at = await files({ 'questions.jsonl': { id: 'q1', kind: 'text', question: 'How many?', answer: '4', item_id: 'x' } });
    const { exitCode, stdout } = await evaluation('--set', at(''), '--against', stack.url, '--out', at('out'));
    expect(exitCode).toBe(1);
    expect(stdout).toContain('! broken off: The whole pipeline');
    expect((await readRun(at('out/run.json'))).broken_off).toHaveLength(2);
  } finally {
    await stack.close();
  }
});
