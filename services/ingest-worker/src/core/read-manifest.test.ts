import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { readLines, type Line } from './manifest-lines.ts';
import { MAX_LINE_BYTES, readManifest, resolvePictureKey } from './read-manifest.ts';

const PLACE = { bucket: '/catalogue', prefix: '', manifestKey: 'm.jsonl' };

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function lines(bytes: Buffer, size: number, start = { offset: 0, lineNo: 1 }, maxLineBytes = 100): Promise<Line[]> {
  const found: Line[] = [];
  for await (const line of readLines(pieces(bytes.subarray(start.offset), size), { start, maxLineBytes })) found.push(line);
  return found;
}

async function read(text: string | Buffer) {
  const bytes = Buffer.from(text);
  const info = { bucket: PLACE.bucket, key: 'm.jsonl', eTag: 'e', sizeBytes: bytes.length, modifiedAt: new Date(0) };
  const { records } = await readManifest({ stream: async () => ({ info, body: pieces(bytes, 64 * 1024) }) }, PLACE, {});
  const found = [];
  for await (const record of records) found.push(record);
  return found;
}

test('lines are the same however the bytes arrive, and each offset is a place to resume from', async () => {
  const text = fc.array(fc.constantFrom('a', 'é', '主', '\n', '\r\n', ' '), { maxLength: 40 }).map((parts) => parts.join(''));
  await fc.assert(
    fc.asyncProperty(text, fc.integer({ min: 1, max: 9 }), async (content, size) => {
      const bytes = Buffer.from(content);
      const all = await lines(bytes, size);
      const expected = content === '' ? [] : content.replace(/\n$/, '').split('\n');
      expect(all.map((line) => line.bytes?.toString())).toEqual(expected);
      for (const [i, line] of all.entries()) {
        expect(await lines(bytes, size, { offset: line.offset, lineNo: line.lineNo })).toEqual(all.slice(i));
        expect(line.nextOffset).toBe(all[i + 1]?.offset ?? bytes.length);
      }
    }),
    { seed: 2 },
  );
});

test('text that no store would give back as it came is mended, an id like that is refused', async () => {
  const found = await read(
    String.raw`{"item_id":"A","title":"a\u0000b","text":"\ud83d cut","attributes":{"k":["\udc00"]}}` +
      '\n' +
      String.raw`{"item_id":"\ud800"}`,
  );
  expect(found[0]?.record).toMatchObject({ title: 'a b', text: '\ufffd cut', attributes: { k: ['\ufffd'] } });
  expect(found[1]).toMatchObject({ record: null, failures: [{ code: 'manifest_line_invalid' }] });
});

test('a line over the limit is passed over without being kept, and the next is read', async () => {
  const bytes = Buffer.from(`short\n${'x'.repeat(1_000)}\nnext`);
  expect((await lines(bytes, 7)).map((line) => line.bytes?.toString() ?? null)).toEqual(['short', null, 'next']);
  const found = await read(`{"item_id":"A","text":"${'x'.repeat(MAX_LINE_BYTES)}"}\n{"item_id":"B"}`);
  expect(found.map(({ record, failures }) => record?.itemId ?? failures[0]?.code)).toEqual(['manifest_line_invalid', 'B']);
});

test('what is not UTF-8, not JSON or not a record names its line and what is wrong', async () => {
  const found = await read(
    Buffer.concat([
      Buffer.from('{"item_id":"'),
      Buffer.from([0xff]),
      Buffer.from('"}\n[]\n{"item_id":"A","images":"a.png"}\n{"item_id":7}'),
    ]),
  );
  expect(found.map(({ failures }) => [failures[0]?.key, failures[0]?.reason])).toEqual([
    ['m.jsonl:1', 'The line is not UTF-8.'],
    ['m.jsonl:2', expect.stringContaining('record')],
    ['m.jsonl:3', expect.stringContaining('images')],
    ['m.jsonl:4', expect.stringContaining('item_id')],
  ]);
});

test.each([
  ['', 'a.png', 'a.png'],
  ['', './a/b.png', 'a/b.png'],
  ['', 'a//b.png', 'a/b.png'],
  ['', 'a/../b.png', 'b.png'],
  ['shop/', 'a.png', 'shop/a.png'],
  ['', '../a.png', null],
  ['', 'a/../../b.png', null],
  ['', '/etc/passwd', null],
  ['', 'https://example.org/a.png', null],
  ['', 'a\0.png', null],
  ['', '.', null],
] as const)('in the folder "%s" the picture %j is %j', (folder, image, key) => {
  expect(resolvePictureKey(folder, image)).toBe(key);
});
