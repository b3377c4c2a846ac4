import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import type { Problem } from '@sightline/shared/contracts/http';
import { DEFAULT_TENANT, newId, pictureAssetId } from '@sightline/shared/contracts/ids';
import { ERRORS, type ErrorCode } from '@sightline/shared/runtime/errors';
import { newAsked, newPrompt, newReview } from '@sightline/shared/testing/question-builder';
import { openRig, type Rig } from '@sightline/query-api/testing/query-api-rig';
import { QuestionWorker } from '@sightline/query-api/testing/question-worker';

const ITEMS = 12;
const SIDE_PX = 96;
let rig: Rig;
let url: string;
let folder: string;
/** By item: what was asked about it. */
const asked = new Map<string, string>();

beforeAll(async () => {
  rig = await openRig({ port: 0 });
  url = await rig.app.listen({ host: '127.0.0.1', port: 0 });
  folder = await mkdtemp(join(tmpdir(), 'sightline-export-'));
  for (let n = 0; n < ITEMS; n++) {
    const assetId = await rig.addPicture(`part-${n}.png`, [n / ITEMS, 0.5, 0.2], []);
    asked.set(`part-${n}`, await answered(n, assetId, `Which hole of part ${n}?`));
  }
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await rig.close();
});

/** A question about part `n`, whose answer boxes its picture, judged by one reviewer. */
async function answered(
  n: number,
  assetId: string,
  question: string,
  more: Parameters<typeof newReview>[0] = { verdict: 'right' },
) {
  const place = { bucket: rig.bucket, key: `part-${n}.png` };
  const object = { ...place, eTag: (await rig.store.head(place))?.eTag ?? '' };
  const size = { widthPx: 64, heightPx: 48, orientation: 1 };
  const questionId = newId();
  const kept = { questionId, tenant: DEFAULT_TENANT, traceId: 't', asked: newAsked({ question }), createdAt: 1_000 };
  await rig.ledger.createQuestion(kept, { maxBacklog: 1_000 });
  const worker = new QuestionWorker(rig.ledger, questionId);
  await worker.take(questionId);
  const box = [0, 0, 0, 0] as [number, number, number, number];
  const boxes = [{ image: 1, label: 'left hole', pixels: [16, 12, 32, 24] as typeof box, normalized: box, upright: box }];
  const images = [{ n: 1, source: 'citation' as const, citationId: 'c1', object, ...size }];
  const prompt = newPrompt({
    content: ['Source [1]', 'Picture of source [1]:', 0, `Question:\n${question}`],
    sources: [{ n: 1, assetId, itemId: `part-${n}`, title: '' }],
    pictures: [{ source: 1, object, ...size }],
    imageSidePx: SIDE_PX,
    boxFrame: 'square_pixels',
  });
  await worker.answer(DEFAULT_TENANT, questionId, { answer: 'The left hole [1].', boxes, images }, prompt);
  await rig.ledger.putReview(DEFAULT_TENANT, questionId, newReview({ reviewedAt: Date.now(), ...more }));
  return questionId;
}

function start(args: string[], at = url) {
  const env = { ...process.env, SIGHTLINE_URL: at, SIGHTLINE_API_KEY: '', INIT_CWD: folder };
  const child = spawn(process.execPath, [fileURLToPath(new URL('export.ts', import.meta.url)), ...args], { env, cwd: folder });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, output }));
  return { child, ended };
}
const run = (args: string[], at = url) => start(args, at).ended;

type Answering = (request: IncomingMessage, response: ServerResponse) => boolean;

/** The rig behind a server that answers some requests itself, by `answering`, and passes the others on. */
async function through<T>(answering: Answering, work: (at: string) => Promise<T>): Promise<T> {
  const server = createServer((request, response) => {
    if (answering(request, response)) return;
    const path = request.url?.startsWith('/v1/feedback') ? `${request.url}&limit=2` : request.url;
    void fetch(`${url}${path}`).then(async (answer) =>
      response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(Buffer.from(await answer.arrayBuffer())),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  try {
    return await work(`http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}
const isList = ({ url: path }: IncomingMessage) => path?.startsWith('/v1/feedback') ?? false;
function refuse(response: ServerResponse, code: ErrorCode): true {
  const { httpStatus: status, message: title } = ERRORS[code];
  const told: Problem = { type: 'about:blank', title, status, code, trace_id: 't' };
  response.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify(told));
  return true;
}

interface Entry {
  id: string;
  image: string;
  system?: string;
  conversations: { from: string; value: string }[];
}
const read = async (...path: string[]) => readFile(join(folder, ...path), 'utf8');
const readEntries = async (...path: string[]): Promise<Entry[]> => JSON.parse(await read(...path)) as Entry[];

test('what was reviewed becomes a set: examples, their pictures as the model saw them, and where each is from', async () => {
  const { code, output } = await run(['--format', 'llava', '--out', 'set', '--split', '0.3']);
  expect({ code, output }).toMatchObject({ code: 0 });
  const [train, testing] = [await readEntries('set', 'train.json'), await readEntries('set', 'test.json')];
  expect(train.length + testing.length).toBe(ITEMS);
  expect(testing.length).toBeGreaterThan(0);
  expect([...train, ...testing].map(({ id }) => id).sort()).toEqual([...asked.values()].sort());
  const one = [...train, ...testing].find(({ id }) => id === asked.get('part-3'));
  // 64 x 48 in a square of 96: 96 x 72, with 12 above and below.
  expect(one).toEqual({
    id: asked.get('part-3'),
    image: expect.stringMatching(/^[0-9a-f]{64}\.png$/),
    system: 'You answer questions.',
    conversations: [
      {
        from: 'human',
        value: 'Source [1]\nPicture of source [1]:\n<image>\nQuestion:\nWhich hole of part 3?',
        parts: ['Source [1]', 'Picture of source [1]:', '<image>', 'Question:\nWhich hole of part 3?'],
      },
      { from: 'gpt', value: 'The left hole [1] [[24,30,48,48]].' },
    ],
  });
  const picture = await readFile(join(folder, 'set', 'images', one!.image));
  expect(await sharp(picture).metadata()).toMatchObject({ width: SIDE_PX, height: SIDE_PX });
  expect(await readdir(join(folder, 'set', 'images'))).toHaveLength(ITEMS);
  const lines = (await read('set', 'provenance.jsonl')).trim().split('\n');
  const from = lines.map((line) => JSON.parse(line) as Record<string, unknown>).find(({ id }) => id === one!.id);
  const stored = await rig.store.get({ bucket: rig.bucket, key: 'part-3.png' }, { maxBytes: 1e6 });
  const sha256 = createHash('sha256').update(stored.bytes).digest('hex');
  expect(from).toMatchObject({
    split: testing.some(({ id }) => id === one!.id) ? 'test' : 'train',
    verdict: 'right',
    reviewer: 'ann',
    model: 'm',
    prompt_version: '1',
    items: ['part-3'],
    images: [{ file: one!.image, sha256, key: 'part-3.png' }],
  });
  expect(JSON.parse(await read('set', 'export.json'))).toMatchObject({
    train: train.length,
    test: testing.length,
    images: ITEMS,
    image_side_px: [SIDE_PX],
    box_frame: ['square_pixels'],
  });
  expect((await readdir(join(folder, 'set'))).sort()).toEqual([
    'export.json',
    'images',
    'provenance.jsonl',
    'test.json',
    'train.json',
  ]);
  // What is there is not written over.
  expect(await run(['--out', 'set'])).toMatchObject({ code: 1, output: expect.stringContaining('is not empty') });
});

test('of what was asked twice the later review is kept, and what cannot be learned from is counted', async () => {
  const since = new Date(Date.now() + 1_000).toISOString();
  const reviewedAt = Date.parse(since) + 1;
  const assetId = pictureAssetId(DEFAULT_TENANT, rig.bucket, 'part-0.png');
  await answered(0, assetId, 'Which  hole of PART 0', { verdict: 'right', reviewedAt });
  const corrected = { correctedAnswer: 'The right hole [1].', reviewedAt: reviewedAt + 1 };
  const later = await answered(0, assetId, 'which hole of part 0?', corrected);
  await answered(1, assetId, 'What is wrong?', { reviewedAt });
  const { code, output } = await run(['--out', 'later', '--since', since, '--split', '0', '--plain']);
  expect({ code, output }).toMatchObject({ code: 0, output: expect.stringContaining('1 left out: wrong_without_correction') });
  expect(output).toContain('1 said again what a later one says');
  const [entry, ...more] = await readEntries('later', 'train.json');
  expect(more).toEqual([]);
  expect(entry).toMatchObject({
    id: later,
    conversations: [{ value: '<image>\nwhich hole of part 0?' }, { from: 'gpt', value: 'The right hole.' }],
  });
  expect(entry).not.toHaveProperty('system');
});

test('what passes is waited for, and a picture that is not to be had is counted by its reason', async () => {
  let [lists, pictures] = [0, 0];
  const answering: Answering = (request, response) => {
    if (isList(request)) {
      lists++;
      if (lists === 1) return refuse(response, 'ledger_unavailable');
      if (lists === 3) response.destroy();
      return lists === 3;
    }
    pictures++;
    if (pictures === 1) return refuse(response, 'object_store_unavailable');
    if (pictures === 2) {
      // The connection breaks within the answer.
      response.writeHead(200, { 'content-length': 100 }).write('half', () => response.destroy());
      return true;
    }
    if (pictures === 4) return refuse(response, 'picture_too_many_bytes');
    return pictures === 5 && refuse(response, 'object_forbidden');
  };
  const { code, output } = await through(answering, (at) => run(['--out', 'waited'], at));
  expect({ code, output }).toMatchObject({ code: 0 });
  expect(JSON.parse(await read('waited', 'export.json'))).toMatchObject({
    left_out: { picture_too_many_bytes: 1, object_forbidden: 1 },
  });
});

test('an export that breaks off leaves nothing behind', async () => {
  let lists = 0;
  const answering: Answering = (request, response) => isList(request) && ++lists === 2 && refuse(response, 'scope_missing');
  const before = (await readdir(folder)).sort();
  expect(await through(answering, (at) => run(['--out', 'broken'], at))).toMatchObject({ code: 1 });
  expect(lists).toBe(2);
  expect((await readdir(folder)).sort()).toEqual(before);
});

test.each([
  ['SIGINT', 'while a picture is awaited', 1, () => true],
  // The second refusal is followed by a pause.
  ['SIGTERM', 'while it waits to ask again', 2, (response: ServerResponse) => refuse(response, 'overloaded')],
] as const)('%s %s stops it, and nothing is left', async (signal, _, after, answer) => {
  const before = (await readdir(folder)).sort();
  let [asked, stop] = [0, (): void => undefined];
  await through(
    (request, response) => {
      if (isList(request)) return false;
      asked++;
      const answered = answer(response);
      if (asked === after) setImmediate(stop);
      return answered;
    },
    async (at) => {
      const { child, ended } = start(['--out', 'stopped'], at);
      stop = () => {
        // A second one does not end it before it has tidied up.
        child.kill(signal);
        child.kill(signal);
      };
      expect(await ended).toMatchObject({ code: 1, output: expect.stringContaining('Stopped; nothing was written.') });
    },
  );
  expect((await readdir(folder)).sort()).toEqual(before);
});
