import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import {
  questionAccepted,
  questionView,
  type QuestionRequest,
  type QuestionView,
} from '@sightline/shared/contracts/question-http';
import { TINY_ADAPTER, TINY_MODEL, TINY_PACK } from '@sightline/generate-worker/testing/tiny-pack';
import { ApiClient } from '../../scripts/api-client.ts';
import { isRunning, processTree } from '../../scripts/process-tree.ts';
import { ingest, startStack, waitForEnd } from '../harness/stack.ts';

const SAMPLE = fileURLToPath(new URL('../../sample/', import.meta.url));
const ITEMS = ['drawing-cooler-00', 'drawing-cooler-01', 'problem-00', 'problem-01', 'xray-01', 'product-0000'];
const TIMEOUT_MS = 180_000;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Some items of the sample catalogue, with their pictures where they are. */
function manifest(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-answers-'));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  mkdirSync(join(dir, 'images'));
  const lines = readFileSync(join(SAMPLE, 'manifest.jsonl'), 'utf8').trim().split('\n');
  const items = lines.map((line) => JSON.parse(line) as { item_id: string; images: string[] });
  const file = join(dir, 'manifest.jsonl');
  const kept = items.filter(({ item_id: id }) => ITEMS.includes(id));
  for (const item of kept) {
    item.images = item.images.map((image, n) => {
      const name = `images/${item.item_id}-${n}${image.slice(image.lastIndexOf('.'))}`;
      writeFileSync(join(dir, name), readFileSync(join(SAMPLE, image)));
      return name;
    });
  }
  writeFileSync(file, kept.map((item) => `${JSON.stringify(item)}\n`).join(''));
  return file;
}

async function answerTo(client: ApiClient, request: QuestionRequest): Promise<QuestionView> {
  const { links } = await client.post('/v1/questions', request, questionAccepted);
  for (;;) {
    const view = await client.get(links.self, questionView);
    if (view.status !== 'queued' && view.status !== 'running') return view;
    await sleep(50);
  }
}

/** The stack's own model server, by what it was started as; not on a system without /proc. */
function modelServer(pid: number): number | null {
  const commandOf = (one: number): string => {
    try {
      return readFileSync(`/proc/${one}/cmdline`, 'utf8');
    } catch {
      return '';
    }
  };
  return processTree(pid).find((one) => commandOf(one).includes('model-server/main.ts')) ?? null;
}

test(
  'the embedded stack answers by a model server of its own, which sees the pictures and may die',
  async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'sightline-embedded-'));
    cleanups.push(() => rmSync(dataDir, { recursive: true, force: true }));
    // A pack of random weights: the form of its answers is what is looked at. They differ, because each prompt names its fences anew.
    const stack = await startStack({ dataDir, env: { VLM_BASE_URL: '', VLM_PACK: TINY_PACK } });
    cleanups.push(() => stack.stop());
    const client = new ApiClient(stack.url);
    const ended = await waitForEnd(stack.url, await ingest(stack.url, { type: 'manifest', uri: manifest() }));
    expect(ended).toMatchObject({ status: 'completed', counts: { failed: 0 } });

    const sampling = { temperature: 0, max_tokens: 24 };
    const fit = await answerTo(client, {
      question: 'Do the mounting holes of the Kestrel R26 fit socket AM5?',
      filter: { kind: 'drawing' },
      ...sampling,
    });
    expect(fit).toMatchObject({ status: 'answered', model: TINY_MODEL, no_match: false, usage: { images: 2 } });
    expect(fit.answer).not.toBe('');
    expect(fit.usage?.completion_tokens).toBeLessThanOrEqual(24);

    const asked: QuestionRequest = {
      question: 'Which vertebra is odd in radiograph R-2138?',
      filter: { kind: 'xray' },
      k: 1,
      ...sampling,
    };
    const region = await answerTo(client, asked);
    expect(region).toMatchObject({ status: 'answered', usage: { images: 1 } });
    const tuned = await answerTo(client, { ...asked, adapter: TINY_ADAPTER });
    expect(tuned).toMatchObject({ status: 'answered', model: TINY_ADAPTER });

    const pid = modelServer(stack.pid);
    if (pid !== null) {
      process.kill(pid, 'SIGKILL');
      const after = await answerTo(client, asked);
      expect(after).toMatchObject({ status: 'answered', model: TINY_MODEL, usage: { images: 1 } });
    }
    const tree = processTree(stack.pid);
    expect(await stack.stop()).toBe(0);
    while (tree.some(isRunning)) await sleep(50);
  },
  TIMEOUT_MS,
);
