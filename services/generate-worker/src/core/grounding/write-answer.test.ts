import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseAnswer, type PromptShown, type ShownPicture } from './parse-answer.ts';
import { letterboxFrame, mapBox, writeBox } from './picture-frame.ts';
import { writeAnswer, type BoxToWrite } from './write-answer.ts';

/** Pictures of 400 x 200 in a square of 100: a pixel of the square is four of theirs, below 25 of padding. */
const shownWith = (...of: ShownPicture['of'][]): PromptShown => ({
  sources: [1, 2, 3].map((n) => ({ n, citationId: `c${n}`, text: '' })),
  pictures: of.map((owner) => ({
    of: owner,
    object: { bucket: 'b', key: String(owner), eTag: 'e' },
    frame: letterboxFrame({ widthPx: 400, heightPx: 200 }, 1, 100),
  })),
  boxFrame: 'square_pixels',
  showSteps: false,
});
const box = (of: ShownPicture['of'], label: string, pixels: BoxToWrite['pixels'] = [40, 20, 120, 140]): BoxToWrite => ({
  of,
  label,
  pixels,
});

test('a box stands behind what its label names, and the source after that', () => {
  const write = (answer: string, ...boxes: BoxToWrite[]) => writeAnswer({ answer, boxes }, shownWith(1, 2));
  expect(write('It fits socket AM5 [1].', box(1, 'socket AM5'))).toBe('It fits socket AM5 [1] [[10,30,30,60]].');
  expect(write('It fits AM5 [1] and AM4 [2].', box(2, 'AM4'))).toBe('It fits AM5 [1] and AM4 [2] [[10,30,30,60]].');
  expect(write('The holes [1] are 78 mm apart.', box(1, 'holes'), box(1, 'holes', [200, 20, 240, 140]))).toBe(
    'The holes [1] [[10,30,30,60]] [[50,30,60,60]] are 78 mm apart.',
  );
  expect(write('It fits.')).toBe('It fits.');
});

test('without spaces where the language has none', () => {
  const text = writeAnswer({ answer: '它适合插座AM5[1]。', boxes: [box(1, 'AM5')] }, shownWith(1));
  expect(text).toBe('它适合插座AM5[1] [[10,30,30,60]]。');
  expect(parseAnswer(text!, shownWith(1)).answer).toBe('它适合插座AM5[1]。');
});

test('what the text does not name is named at its end', () => {
  expect(writeAnswer({ answer: 'Vertebra L4 is fractured.', boxes: [box(2, 'L4 body')] }, shownWith('question', 1, 2))).toBe(
    'Vertebra L4 is fractured.\nL4 body [2] [[10,30,30,60]]',
  );
});

test('a box on a picture that was not shown cannot be written', () => {
  expect(writeAnswer({ answer: 'It fits [3].', boxes: [box(3, 'It')] }, shownWith(1))).toBeNull();
});

test('whatever is written is read back as the answer with the same boxes on the same pictures', () => {
  const word = fc.constantFrom(
    'socket',
    'AM5',
    'holes',
    '78 mm',
    'the',
    'left',
    'fan',
    '插座',
    '风扇',
    'L4',
    '(see',
    'note)',
    'a',
    'and',
  );
  const piece = fc.oneof(word, word, word, fc.constantFrom('[1]', '[2]', '[3]', '.', ',', '。', ':', '\n'));
  const owner = fc.constantFrom<ShownPicture['of']>('question', 1, 2);
  const part = fc.integer({ min: 0, max: 60 });
  const somewhere = fc
    .tuple(part, part, part, part)
    .map(([a, b, c, d]): BoxToWrite['pixels'] => [a * 4, b * 2, a * 4 + 4 + c * 2, b * 2 + 4 + d]);
  const boxes = fc.array(
    fc.record({
      of: owner,
      label: fc.constantFrom('socket', 'AM5', 'holes', '78 mm', '插座', 'L4', 'not named'),
      pixels: somewhere,
    }),
    { maxLength: 4 },
  );
  let [exact, labelled, all] = [0, 0, 0];
  fc.assert(
    fc.property(
      fc.array(piece, { minLength: 1, maxLength: 24 }),
      boxes,
      fc.constantFrom('square_pixels' as const, 'unit' as const, 'thousand' as const, 'picture_pixels' as const),
      fc.constantFrom<ShownPicture['of'][]>(['question', 1, 2], [2, 1, 'question'], [2, 1]),
      (pieces, wanted, boxFrame, order) => {
        const shown: PromptShown = { ...shownWith(...order), boxFrame };
        fc.pre(wanted.every(({ of }) => order.includes(of)));
        const answer = parseAnswer(pieces.join(' '), shown).answer;
        const written = writeAnswer({ answer, boxes: wanted }, shown);
        if (written === null) return;
        all++;
        const read = parseAnswer(written, shown);
        const of = (image: number) => {
          const found = read.images.find(({ n }) => n === image);
          return found?.citationId ?? 'question';
        };
        const expected = wanted.map(({ of: owner, pixels }) => {
          const { frame } = shown.pictures.find((one) => one.of === owner)!;
          return `${owner === 'question' ? owner : `c${owner}`} ${mapBox(writeBox(pixels, boxFrame, frame), boxFrame, frame)!.pixels.join()}`;
        });
        expect([...new Set(read.boxes.map(({ image, pixels }) => `${of(image)} ${pixels.join()}`))].sort()).toEqual(
          [...new Set(expected)].sort(),
        );
        expect(read.answer.startsWith(answer)).toBe(true);
        if (read.answer === answer) exact++;
        const labels = new Set(read.boxes.map(({ label }) => label));
        if (wanted.every(({ label }) => labels.has(label))) labelled++;
      },
    ),
    { numRuns: 300, seed: 11 },
  );
  expect(all).toBeGreaterThan(280);
  expect(exact).toBeGreaterThan(70);
  expect(labelled).toBeGreaterThan(70);
});
