import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseAnswer, type PromptShown, type ShownPicture } from './parse-answer.ts';
import { letterboxFrame } from './picture-frame.ts';

/** Pictures of 400 x 200 in a square of 100: a pixel of the square is four of theirs, below 25 of padding. */
const picture = (of: ShownPicture['of'], widthPx = 400, heightPx = 200): ShownPicture => ({
  of,
  object: { bucket: 'b', key: String(of), eTag: 'e' },
  frame: letterboxFrame({ widthPx, heightPx }, 1, 100),
});
const sources = [
  { n: 1, citationId: 'c1', text: 'Kestrel R26 CPU cooler\nTower cooler with a 140 mm fan. Mounting frame as in the drawing.' },
  { n: 2, citationId: 'c2', text: 'Breeva N43 CPU cooler. Price: 44.45.' },
  { n: 3, citationId: 'c3', text: '' },
];
const shownWith = (...of: ShownPicture['of'][]): PromptShown => ({
  sources,
  pictures: of.map((owner) => picture(owner)),
  boxFrame: 'square_pixels',
  showSteps: false,
});
const parse = (text: string, ...of: ShownPicture['of'][]) => parseAnswer(text, shownWith(...of));
const codes = (warnings: string[]) => warnings.map((warning) => warning.split(':')[0]);
const BOX = '[[10,30,30,60]]';
const PIXELS = [40, 20, 120, 140];

test('citations are named, quoted, and listed in the order of the answer', () => {
  const parsed = parse('The N43 costs 44.45【2】, the fan measures 140 mm [c1]. See [^3].');
  expect(parsed.answer).toBe('The N43 costs 44.45[2], the fan measures 140 mm [1]. See [3].');
  expect(parsed.cited).toEqual([
    { n: 2, citationId: 'c2', quote: 'Breeva N43 CPU cooler. Price: 44.45.' },
    { n: 1, citationId: 'c1', quote: 'Tower cooler with a 140 mm fan.' },
    { n: 3, citationId: 'c3', quote: null },
  ]);
  expect(parsed).toMatchObject({ boxes: [], images: [], steps: null, notFound: false, warnings: [] });
});

test('sources that were not given are cut and counted, an answer without sources says so', () => {
  const parsed = parse('It fits [4][1, 9], since [2020].');
  expect(parsed.answer).toBe('It fits [1], since [2020].');
  expect(parsed.dropped).toEqual({ citations: 2, boxes: 0 });
  expect(codes(parsed.warnings)).toEqual(['citations_dropped']);
  expect(codes(parse('It fits [99].').warnings)).toEqual(['no_citations', 'citations_dropped']);
  expect(codes(parse('It fits.').warnings)).toEqual(['no_citations']);
  expect(parseAnswer('It fits.', { ...shownWith(), sources: [] }).warnings).toEqual([]);
});

test('a box is cut from the text, labelled, and on the picture in pixels', () => {
  const parsed = parse(`The holes are marked "78 mm" ${BOX}, see [1].`, 1);
  expect(parsed.answer).toBe('The holes are marked "78 mm", see [1].');
  expect(parsed.boxes).toEqual([
    { image: 1, label: '78 mm', pixels: PIXELS, normalized: [0.1, 0.1, 0.3, 0.7], upright: [0.1, 0.1, 0.3, 0.7] },
  ]);
  expect(parsed.images).toEqual([
    {
      n: 1,
      source: 'citation',
      citationId: 'c1',
      object: { bucket: 'b', key: '1', eTag: 'e' },
      widthPx: 400,
      heightPx: 200,
      orientation: 1,
    },
  ]);
});

test.each<[string, ShownPicture['of'][], (string | null)[]]>([
  [`In [2] the hole ${BOX} is red.`, ['question', 1, 2], ['2']],
  [`In [1] and [2] the hole ${BOX} is red.`, ['question', 1, 2], ['2']],
  [`In [3] the hole ${BOX} is red.`, ['question', 1, 2], ['question']],
  [`It says so in [2]. The hole ${BOX} is red.`, ['question', 1, 2], ['question']],
  [`In image 3 the hole ${BOX} is red.`, ['question', 1, 2], ['2']],
  [`In [1] and picture 3 the hole ${BOX} is red.`, ['question', 1, 2], ['2']],
  [`In picture 3 and [1] the hole ${BOX} is red.`, ['question', 1, 2], ['1']],
  [`第2张图里的孔${BOX}是红的。`, ['question', 1, 2], ['1']],
  [`In [2] and the picture of the question the hole ${BOX} is red.`, [1, 2, 'question'], ['question']],
  [`您的图片和问题的图里的孔${BOX}是红的。`, [1, 2], [null]],
  [`In image 9 the hole ${BOX} is red.`, ['question', 1, 2], ['question']],
  [`The hole ${BOX} is red.`, [2], ['2']],
  [`The hole ${BOX} is red [2]. The other ${BOX} is blue [1].`, [1, 2], ['2', '1']],
  [`The hole ${BOX} is red. So it is [3][2].`, [1, 2], ['2']],
  [`The hole ${BOX} is red.`, [1, 2], [null]],
  [`The hole ${BOX} is red [3].`, [], [null]],
])('%j with the pictures of %j', (text, of, owners) => {
  const parsed = parse(text, ...of);
  const found = parsed.boxes.map(({ image }) => parsed.images[image - 1]!.object.key);
  expect(found).toEqual(owners.filter((owner) => owner !== null));
  expect(codes(parsed.warnings).includes('box_without_picture')).toBe(owners.includes(null));
  expect(parsed.answer).not.toMatch(/\[\[|\(\)| {2}| [.,]/);
  if (owners.includes(null)) expect(parsed.dropped.boxes).toBe(1);
});

test("pictures are those that carry a box or are cited, the question's first", () => {
  const parsed = parse(`See [2]. The hole ${BOX} is red.`, 1, 2, 'question');
  expect(parsed.images.map(({ n, source, citationId }) => [n, source, citationId])).toEqual([
    [1, 'question', null],
    [2, 'citation', 'c2'],
  ]);
  expect(parsed.boxes[0]!.image).toBe(1);
  expect(parse('See [2].', 'question', 1, 2).images.map(({ citationId }) => citationId)).toEqual(['c2']);
});

test('several boxes of one mark share their label, equal ones are one, impossible ones are counted', () => {
  const parsed = parse('Holes: [[10,30,30,60],[40,30,60,60],[40,30,60,60]] and [[1,1,20,20]] and [[5,5,5,5]] [1].', 1);
  expect(parsed.boxes.map(({ label, pixels }) => [label, pixels])).toEqual([
    ['Holes', PIXELS],
    ['Holes', [160, 20, 240, 140]],
  ]);
  expect(parsed.dropped.boxes).toBe(2);
  expect(codes(parsed.warnings)).toEqual(['boxes_dropped']);
  expect(parsed.answer).toBe('Holes: [1].');
});

test('steps are numbered from one, in the text and apart', () => {
  const shown = { ...shownWith(1), showSteps: true };
  const parsed = parseAnswer(`2. Read 78 mm ${BOX} [1].\n4) Compare with [1].\n\nIt fits [1].`, shown);
  expect(parsed.steps).toEqual(['Read 78 mm [1].', 'Compare with [1].']);
  expect(parsed.answer).toBe('1. Read 78 mm [1].\n2. Compare with [1].\n\nIt fits [1].');
  expect(parsed.boxes[0]!.label).toBe('Read 78 mm');
  expect(parseAnswer('It fits [1].', shown).steps).toBeNull();
});

test('JSON is read: alone, fenced, with steps, boxes by picture or source, and what was not given', () => {
  const json = {
    answer: `It fits [1], see the hole ${BOX}.`,
    steps: ['Read the drawing [1].', '2. Compare.'],
    citations: [1, 'c2', 7],
    boxes: [
      { image: 1, label: 'AM4\u0000', box: [10, 30, 30, 60] },
      { image: 'c2', label: 'AM5', box: [[10, 30, 30, 60]] },
      { image: 0, label: 'mine', box: [10, 30, 30, 60] },
      { image: 3, label: 'third', box: [10, 30, 30, 60] },
      { image: 9, label: 'none', box: [10, 30, 30, 60] },
      { image: 0, label: 'broken', box: [10, 'x', 30, 60] },
      'nonsense',
    ],
    not_found: false,
  };
  const shown = { ...shownWith('question', 1, 2), showSteps: true };
  for (const text of [
    JSON.stringify(json),
    `\`\`\`json\n${JSON.stringify(json, null, 2)}\n\`\`\`<|im_end|>`,
    `Here:\n\`\`\`\n${JSON.stringify(json)}`,
  ]) {
    const parsed = parseAnswer(text, shown);
    expect(parsed.answer).toBe('1. Read the drawing [1].\n2. Compare.\n\nIt fits [1], see the hole.');
    expect(parsed.steps).toEqual(['Read the drawing [1].', 'Compare.']);
    expect(parsed.cited.map(({ n }) => n)).toEqual([1, 2]);
    expect(parsed.images.map(({ citationId }) => citationId)).toEqual([null, 'c1', 'c2']);
    expect(parsed.boxes.map(({ image, label }) => [image, label])).toEqual([
      [2, 'hole'],
      [2, 'AM4'],
      [3, 'AM5'],
      [1, 'mine'],
      [3, 'third'],
    ]);
    expect(parsed.dropped).toEqual({ citations: 1, boxes: 2 });
  }
});

test('sources that JSON lists apart are named at the end where the text names none; not found is said', () => {
  expect(parse('{"answer":"It fits.","citations":[2,1]}').answer).toBe('It fits. [2][1]');
  const none = parse('{"answer":"I do not know.","not_found":true}');
  expect(none).toMatchObject({ answer: 'I do not know.', notFound: true, warnings: [] });
});

test.each([
  ['{"answer":"It fits [1], and the \\"hole', 'It fits [1], and the "hole'],
  ['{"answer": "It fits [1].", "boxes": [{"image": 1, "la', 'It fits [1].'],
  ['{"answer":"It\\nfits [1]\\u00', 'It\nfits [1]'],
  ['{"answer":"It fits [1]."} and more', 'It fits [1].'],
  ['{"answer":["It fits [1].","Yes."]}', 'It fits [1]. Yes.'],
  ['{not json [1]', '{not json [1]'],
  ['{"reply":"It fits [1]."}', '{"reply":"It fits [1]."}'],
  ['ASSISTANT: It fits [1].</s>', 'It fits [1].'],
  ['It fits [1]. The hole [[10, 30', 'It fits [1]. The hole'],
])('%j becomes an answer', (text, answer) => {
  expect(parse(text, 1).answer).toBe(answer);
});

test('frames: the same box written in each', () => {
  const shown = shownWith(1);
  for (const [boxFrame, mark] of [
    ['square_pixels', '[[10,30,30,60]]'],
    ['picture_pixels', '[[40,20,120,140]]'],
    ['unit', '[[0.1,0.3,0.3,0.6]]'],
    ['thousand', '[[100,300,300,600]]'],
  ] as const) {
    expect(parseAnswer(`Hole ${mark} [1].`, { ...shown, boxFrame }).boxes[0]?.pixels).toEqual(PIXELS);
  }
});

const hostile = fc.constantFrom(
  '[',
  ']',
  '[[',
  ']]',
  '1',
  '2',
  '9',
  '42',
  ',',
  ' ',
  '. ',
  '。',
  '(',
  ')',
  '{"answer":"',
  '"',
  '\\',
  '}',
  '```',
  '`',
  '"boxes":[',
  '【',
  '】',
  '[1]',
  '[3]',
  '[[10,30,30,60]]',
  '[[0.5,1e9,3,4]]',
  '[[-1,-2,3,4]]',
  'image 2 ',
  '\n',
  '1. ',
  'Step 2: ',
  '<|im_end|>',
  '</s>',
  'ASSISTANT:',
  '\u0000',
  '\ue000',
  '\ud800',
  '‮',
  'hole ',
  '孔',
  ': ',
  '**',
  'x',
);

test('whatever a model writes, nothing throws, no source is invented, and boxes lie within their pictures', () => {
  let boxes = 0;
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(hostile, { maxLength: 50 }).map((parts) => parts.join('')),
        fc.string({ unit: 'binary', maxLength: 200 }),
      ),
      fc.boolean(),
      fc.subarray<ShownPicture['of']>(['question', 1, 2]),
      (text, showSteps, of) => {
        const parsed = parseAnswer(text, { ...shownWith(...of), sources: sources.slice(0, 2), showSteps });
        for (const [, n] of parsed.answer.matchAll(/(?<![`\p{L}])\[(\d{1,2})\](?!\()/gu)) {
          // In code, and behind `=`, brackets are the answer's own.
          if (!/[`=]/.test(text)) expect([1, 2]).toContain(Number(n));
        }
        expect(parsed.cited.every(({ n, citationId }) => [1, 2].includes(n) && citationId === `c${n}`)).toBe(true);
        for (const box of parsed.boxes) {
          boxes++;
          const image = parsed.images[box.image - 1]!;
          const [left, top, right, bottom] = box.pixels;
          expect(image.n).toBe(box.image);
          expect(
            left >= 0 && left < right && right <= image.widthPx && top >= 0 && top < bottom && bottom <= image.heightPx,
          ).toBe(true);
          expect(Array.from(box.label).length).toBeLessThanOrEqual(80);
        }
        expect(parsed.answer).not.toMatch(/\ue000|\u0000/);
        expect(parsed.answer.isWellFormed()).toBe(true);
      },
    ),
    { numRuns: 1500, seed: 6 },
  );
  expect(boxes).toBeGreaterThan(30);
});

test.each([
  '[',
  '[[',
  '[[10,30,30,60]] ',
  '[1] ',
  '(',
  '{"answer":"',
  '"',
  '\\',
  '```',
  '. ',
  '1. a\n',
  '[[1,2,3,4],',
  '<|',
  'image 1 ',
  '[1',
  'a: [[10,30,30,60]]\n',
  ' ',
])('a hundred kilobytes of %j are parsed in one pass', (piece) => {
  const text = piece.repeat(100_000 / piece.length);
  for (const hostileText of [`{"answer":"${text}`, `${text}x`]) {
    const parsed = parse(hostileText, 1);
    expect(parsed.boxes.length).toBeLessThanOrEqual(64);
  }
});
