import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import sharp from 'sharp';
import { escaped } from './report-html.ts';
import { reportOf } from './report.ts';
import type { EvaluatedAnswer } from './run.ts';
import { runOf } from './testing/run-builder.ts';

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

const EVIL = `</style><script>alert(1)</script><img src=x onerror=alert(1)> "'&\u202e`;

function answer(more: Partial<EvaluatedAnswer> = {}): EvaluatedAnswer {
  return {
    system: 'whole',
    id: 'q1',
    language: 'en',
    asked: 'How many?',
    kind: 'picture',
    family: 'plate',
    split: null,
    expected: ['4'],
    answer: '5',
    error: null,
    cited: ['item-1'],
    item_id: 'item-1',
    image: 'images/a.png',
    boxes: { expected: [[1, 2, 30, 40]], given: [] },
    scores: { accuracy: 0, box_iou50: 0 },
    judged: null,
    ...more,
  };
}

async function setWithPicture(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sightline-report-'));
  folders.push(dir);
  await mkdir(join(dir, 'images'));
  await sharp({ create: { width: 80, height: 60, channels: 3, background: '#888888' } })
    .png()
    .toFile(join(dir, 'images/a.png'));
  return dir;
}

test('whatever questions, answers and names are, the page runs nothing and loads nothing', async () => {
  const evil = answer({ asked: EVIL, answer: EVIL, expected: [EVIL], cited: [EVIL], family: EVIL, id: EVIL, error: EVIL });
  const run = runOf(
    { 'table.whole.picture.accuracy': { [EVIL]: 0 }, [`answers.family.${EVIL}.accuracy`]: { q: 1 } },
    {
      answers: [evil],
      notes: [EVIL],
      set: { name: EVIL, digest: EVIL, questions: 1, queries: 0 },
      systems: [{ name: 'whole', title: EVIL, about: EVIL }],
      stack: { url: EVIL, assets: 1, encoder: { image: EVIL, text: EVIL }, models: [EVIL], prompt_versions: [EVIL] },
    },
  );
  const html = await reportOf(run, await setWithPicture());
  expect(html).not.toMatch(/<script|<img|\u202e/i);
  expect(html.match(/<\/style>/g)).toHaveLength(1);
  expect(html).toContain('&lt;script&gt;alert(1)');
  expect(html).toContain(`default-src 'none'`);
  const loaded = [...html.matchAll(/\b(?:src|href)="([^"]*)"/g)].map(([, address = '']) => address);
  expect(loaded.length).toBeGreaterThan(0);
  expect(loaded.filter((address) => !/^(?:#picture-\d+|data:image\/webp;base64,[A-Za-z0-9+/=]+)$/.test(address))).toEqual([]);
  expect(html).not.toMatch(/url\(|@import/);
});

test('a failure is shown with its picture once, and the boxes that were expected and given on it', async () => {
  const given = [
    { key: '/sets/one/images/a.png', pixels: [5, 6, 25, 26] as [number, number, number, number] },
    { key: '/sets/one/images/b.png', pixels: [7, 7, 9, 9] as [number, number, number, number] },
  ];
  const failures = [answer({ boxes: { expected: [[1, 2, 30, 40]], given } }), answer({ id: 'q2', item_id: 'item-2' })];
  const right = answer({ id: 'q3', scores: { accuracy: 1, box_iou50: 1 } });
  const html = await reportOf(runOf({}, { answers: [...failures, right] }), await setWithPicture());
  expect(html.match(/data:image\/webp/g)).toHaveLength(1);
  expect(html.match(/<use href="#picture-1"/g)).toHaveLength(2);
  expect(html).toContain('viewBox="0 0 80 60"');
  expect(html).toContain('<rect class="expected" x="1" y="2" width="29" height="38"');
  expect(html).toContain('<rect class="given" x="5" y="6" width="20" height="20"');
  expect(html).not.toContain('x="7" y="7"');
  expect(html).toContain('not item-2');
  expect(html).not.toContain('q3');
});

test('a picture that is not there leaves its failure without one', async () => {
  const html = await reportOf(runOf({}, { answers: [answer({ image: 'images/none.png' })] }), await setWithPicture());
  expect(html).toContain('How many?');
  expect(html).not.toContain('data:image');
});

test('text is written out between tags and in quotes', () => {
  expect(escaped(`<a href="x" title='y'>&\u0000`)).toBe('&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;\ufffd');
});
