import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import { createApiKey } from '@sightline/query-api/core/api-keys';
import { openRig, type Rig } from '@sightline/query-api/testing/query-api-rig';
import { QuestionWorker, retrieved, tokens } from '@sightline/query-api/testing/question-worker';

let rig: Rig;
let url: string;
let pictures: string;
let folder: string;

beforeAll(async () => {
  rig = await openRig({ port: 0 });
  url = await rig.app.listen({ host: '127.0.0.1', port: 0 });
  folder = await mkdtemp(join(tmpdir(), 'sightline-commands-'));
  pictures = join(folder, 'pictures');
  await mkdir(pictures);
  await writeFile(join(pictures, 'a.png'), 'x');
  await rig.addPicture(
    'lamp.png',
    [0, 1, 0],
    [{ itemId: 'lamp-1', title: '台灯 Lamp', text: 'A lamp.', attributes: { kind: 'lamp' } }],
  );
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await rig.close();
});

function run(
  script: string,
  args: string[],
  options: { url?: string; apiKey?: string; onStart?: (kill: (signal: NodeJS.Signals) => void) => void } = {},
) {
  const file = fileURLToPath(new URL(script, import.meta.url));
  const env = {
    ...process.env,
    SIGHTLINE_URL: options.url ?? url,
    SIGHTLINE_API_KEY: options.apiKey ?? '',
    NODE_OPTIONS: '--disable-warning=ExperimentalWarning',
  };
  const child = spawn(process.execPath, [file, ...args], { env, cwd: folder });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  options.onStart?.((signal) => child.kill(signal));
  return new Promise<{ code: number | null; output: string }>((resolve) =>
    child.on('close', (code) => resolve({ code, output })),
  );
}

/** Waits for the ingestion that a command starts, and lets it end with one failure, as the workers would. */
async function endNextIngestion(known: number): Promise<void> {
  for (;;) {
    const all = await rig.ledger.listIngestions(DEFAULT_TENANT, { limit: 100 });
    const [newest] = all;
    if (all.length > known && newest) {
      const failures = [{ key: 'a.png', code: 'picture_not_a_picture' as const, reason: 'One byte.' }];
      await rig.ledger.addChunk(newest.ingestionId, {
        chunkNo: 0,
        entries: [],
        listed: 1,
        failures,
        after: null,
        cursor: 'end',
        at: Date.now(),
      });
      await rig.ledger.setStatus(newest.ingestionId, ['planning', 'running'], 'completed', { at: Date.now() });
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const count = async () => (await rig.ledger.listIngestions(DEFAULT_TENANT, { limit: 100 })).length;

test('ingest follows to the end, tells failures by reason, and fails on them only when it is strict', async () => {
  const [lenient] = await Promise.all([run('ingest.ts', ['pictures']), endNextIngestion(await count())]);
  expect(lenient.output).toContain('1 listed: 0 indexed, 0 unchanged, 0 duplicate, 1 failed');
  expect(lenient.output).toContain('1  picture_not_a_picture');
  expect(lenient.output).toContain('a.png: One byte.');
  expect(lenient.code).toBe(0);
  const [strict] = await Promise.all([run('ingest.ts', ['pictures', '--strict']), endNextIngestion(await count())]);
  expect(strict.code).toBe(1);
});

test('Ctrl-C leaves the ingestion running and says so', async () => {
  const before = await count();
  const interrupt = async (kill: (signal: NodeJS.Signals) => void) => {
    while ((await count()) === before) await new Promise((resolve) => setTimeout(resolve, 50));
    await new Promise((resolve) => setTimeout(resolve, 400));
    kill('SIGINT');
  };
  const { code, output } = await run('ingest.ts', ['pictures'], { onStart: (kill) => void interrupt(kill) });
  expect(output).toContain('goes on in the stack');
  expect(code).toBe(130);
  expect((await rig.ledger.listIngestions(DEFAULT_TENANT, { limit: 1 }))[0]?.status).toBe('planning');
});

test('mistakes are said in words, without a stack trace', async () => {
  for (const [script, args, options, said] of [
    ['ingest.ts', ['missing'], {}, 'There is nothing at'],
    ['ingest.ts', ['pictures'], { url: 'http://127.0.0.1:1' }, 'Nothing answers at http://127.0.0.1:1'],
    ['search.ts', ['lamp', '--mode', 'psychic'], {}, 'request_invalid'],
    ['search.ts', ['lamp', '--image', 'nothing.png'], {}, 'There is no file'],
    ['search.ts', ['lamp', '--filter', 'loose'], {}, 'loose'],
    ['ask.ts', ['?', '--mode', 'psychic'], {}, 'request_invalid'],
    ['ask.ts', ['?', '--image', 'nothing.png'], {}, 'There is no file'],
  ] as const) {
    const { code, output } = await run(script, [...args], options);
    expect({ args, code, trace: output.includes('    at ') }).toEqual({ args, code: 1, trace: false });
    expect(output).toContain(said);
  }
  expect((await run('search.ts', [])).code).toBe(2);
  expect((await run('ask.ts', [])).code).toBe(2);
});

test('search prints a table with the reasons, or the answer as it came', async () => {
  const { code, output } = await run('search.ts', ['green', 'lamp', '--explain', '--filter', 'kind=lamp']);
  expect(code).toBe(0);
  expect(output).toMatch(/c1 .*台灯 Lamp\s+lamp-1\s+lamp\.png/);
  expect(output).toMatch(/image #1 \(\d\.\d+\) · text #1 .* · keywords #1/);
  const json = JSON.parse((await run('search.ts', ['lamp', '--json'])).output) as { results: { item_id: string }[] };
  expect(json.results[0]?.item_id).toBe('lamp-1');
});

/** The question that a command asks, once it stands in the ledger. */
async function nextQuestion(): Promise<string> {
  for (;;) {
    const { questions } = await rig.ledger.listQuestions(DEFAULT_TENANT, { status: 'queued', limit: 1 });
    if (questions[0]) return questions[0].questionId;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test('ask shows the answer as it is written, then what it rests on', async () => {
  const answering = async () => {
    const questionId = await nextQuestion();
    const worker = new QuestionWorker(rig.ledger, 'w');
    await worker.take(questionId);
    await worker.tell(questionId, retrieved(1), tokens(1, 'The fi\u001b[2Jrst'), tokens(1, '\none.'));
    const claims = [{ text: 'It is free.', citationIds: ['c1'], verdict: 'unsupported' as const, score: 0.1 }];
    await worker.answer(DEFAULT_TENANT, questionId, { claims, steps: ['Look.'], warnings: ['cut: shortened.'] });
    return questionId;
  };
  const [{ code, output }, questionId] = await Promise.all([
    run('ask.ts', ['Which', 'cooler?', '--steps', '--follow']),
    answering(),
  ]);
  expect((await rig.ledger.getQuestion(DEFAULT_TENANT, questionId))?.asked).toMatchObject({
    question: 'Which cooler?',
    showSteps: true,
  });
  expect(code).toBe(0);
  expect(output).toContain('1 sources.\n\nThe fi\ufffd[2Jrst\none.');
  for (const said of [
    '! cut: shortened.',
    'The first one [1].',
    '1. Look.',
    ' c1   75 %  Cooler  ä.png',
    '"fits AM4"',
    '! not supported by its source: It is free.',
    'box in picture 1: socket [1, 2, 3, 4]',
    `picture 1: ${url}/v1/questions/${questionId}/images/1`,
    '16 ms (queue 1, retrieve 2, prompt 3, generate 5, ground 5), m',
  ])
    expect(output).toContain(said);
});

test('Ctrl-C cancels the question; one that fails says its code', async () => {
  let questionId = '';
  const interrupt = async (kill: (signal: NodeJS.Signals) => void) => {
    questionId = await nextQuestion();
    // Its stream is open once it has been told something.
    const worker = new QuestionWorker(rig.ledger, 'w');
    await worker.take(questionId);
    await worker.tell(questionId, retrieved(1));
    await new Promise((resolve) => setTimeout(resolve, 400));
    kill('SIGINT');
  };
  const stopped = await run('ask.ts', ['?'], { onStart: (kill) => void interrupt(kill) });
  expect(stopped).toMatchObject({ code: 130, output: expect.stringContaining('The question is cancelled.') });
  expect((await rig.ledger.getQuestion(DEFAULT_TENANT, questionId))?.status).toBe('cancelled');

  const failing = async () => {
    const id = await nextQuestion();
    const worker = new QuestionWorker(rig.ledger, 'w');
    await worker.take(id);
    await worker.fail(DEFAULT_TENANT, id, { code: 'generator_timeout', detail: null });
  };
  const [failed] = await Promise.all([run('ask.ts', ['?', '--json']), failing()]);
  expect(failed.code).toBe(1);
  expect(JSON.parse(failed.output)).toMatchObject({ status: 'failed', error: { code: 'generator_timeout' } });
});

test('where keys are asked for, the commands take theirs from SIGHTLINE_API_KEY and say so without one', async () => {
  const keyed = await openRig({ auth: 'keys' });
  try {
    const place = { url: await keyed.app.listen({ host: '127.0.0.1', port: 0 }) };
    const wanted = { tenant: 'acme', name: 'n', scopes: ['read' as const], expiresAt: null };
    const { secret } = await createApiKey({ ledger: keyed.ledger, now: Date.now, randomBytes }, wanted);
    const without = await run('search.ts', ['lamp'], place);
    expect(without.code).toBe(1);
    expect(without.output).toContain('SIGHTLINE_API_KEY');
    expect(await run('search.ts', ['lamp'], { ...place, apiKey: secret })).toMatchObject({ code: 0 });
  } finally {
    await keyed.close();
  }
});
