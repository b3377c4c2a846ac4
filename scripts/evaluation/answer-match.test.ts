import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { matchesExactly, matchesNormalised, soundsLikeRefusal } from './answer-match.ts';
import { answersOf, readSet } from './question-set.ts';

const matches = (answer: string, right: string | string[], question = 'What is it?') =>
  matchesNormalised(answer, { question, answers: [right].flat() });

test('the same text is an exact match but for citations, spaces and the full stop', () => {
  const reference = { question: 'q', answers: ['4 (2 rows of 2)', 'four'] };
  expect(matchesExactly('4 (2  rows of 2) [1].', reference)).toBe(true);
  expect(matchesExactly('four', reference)).toBe(true);
  expect(matchesExactly('4', reference)).toBe(false);
});

test.each([
  ['It costs 9.8 [1].', '9.80'],
  ['€9.80', '9.80'],
  ['9.80 EUR', '9.80'],
  ['48V', '48 V'],
  ['It is rated for 48 volts [1].', '48 V'],
  ['48', '48 V'],
  ['0.42 cm', '4.2 mm'],
  ['额定电压是48伏。', '48 V'],
  ['4 毫米', '4 mm'],
  ['The sum is 1,015.', '1015'],
  ['1015', '1015'],
  ['70 cm^2', '70 cm²'],
  ['70 cm²', '70 cm²'],
  ['The angle is 70 degrees', '70°'],
  ['It has 4 pins in 2 rows of 2 [1].', '4 (2 rows of 2)'],
  ['There are three of them.', '3'],
  ['有三个。', '3'],
  ['78 x 78 mm', '78 x 78 mm'],
  ['78 mm × 78 mm', '78 x 78 mm'],
  ['It costs 43.75, and the holes are 78 x 78 mm apart [1].', '43.75; 78 x 78 mm.'],
  ['The holes are 78 x 78 mm apart; it costs 43.75.', '43.75; 78 x 78 mm.'],
  ['Vertebra L2 is abnormal [1].', 'L2'],
  ['L2 异常', 'L2'],
  ['A **magnet** [1].', 'magnet'],
  ['It is a Picture Card.', 'picture card'],
  ['much denser than the others', 'It is much denser (brighter) than the others.'],
  ['First: 3+2=5 [1]', 'ones: 3 + 2 = 5'],
  ['ones: 3 + 2 = 5', 'ones: 3 + 2 = 5'],
  ['c² = a² + b²', 'c² = a² + b²'],
  ['50 * 4 = 200', '50 × 4 = 200'],
  ['x = -5', '-5'],
  ['minus 5', '-5'],
  ['from -5 to 40 °C', '-5 to 40 °C'],
  ['over 5 mm', 'more than 5 mm'],
  ['about 5 mm', '5 mm'],
  ['two', '2 pieces'],
  ['3 [1].', '3'],
  ['**3** [1].', '3'],
  ['3. They are red [1].', '3'],
])('%j says %j', (answer, right) => {
  expect(matches(answer, right)).toBe(true);
});

test.each([
  ['9.08', '9.80'],
  ['48 A', '48 V'],
  ['480 V', '48 V'],
  ['24 V or 48 V', '48 V'],
  ['12 V, 48 V', '48 V'],
  ['4.2 cm', '4.2 mm'],
  ['70 cm', '70 cm²'],
  ['4 V', '4'],
  ['4 mm', '4'],
  ['2 rows of 4', '4 (2 rows of 2)'],
  ['2', '4 (2 rows of 2)'],
  ['78 x 87 mm', '78 x 78 mm'],
  ['78 mm', '78 x 78 mm'],
  ['90 x 54 mm', '54 x 90 mm'],
  ['78 x 78 mm', '43.75; 78 x 78 mm.'],
  ['43.57; 78 x 78 mm', '43.75; 78 x 78 mm.'],
  ['L1 or L2', 'L2'],
  ['L1', 'L2'],
  ['L20', 'L2'],
  ['It is not L2', 'L2'],
  ['two or three', '3'],
  ['not a magnet', 'magnet'],
  ['a magnet or a poster', 'magnet'],
  ['poster', 'magnet'],
  ['13 + 2 = 5', 'ones: 3 + 2 = 5'],
  ['3 + 2 = 51', 'ones: 3 + 2 = 5'],
  ['3 + 3 = 6', 'ones: 3 + 2 = 5'],
  ['5', '-5'],
  ['x = -5', '5'],
  ['', '5'],
  ['I do not know.', '5'],
  ['10155', '1015'],
  ['The plate has two slots', '120 mm'],
  ['有两个', '24 V'],
  ['The plate has two slots and is 120 mm wide', '120 mm'],
  ['from -5 to 40 °C', '5 to 40 °C'],
  ['from 5 to 40 °C', '-5 to 40 °C'],
  ['less than 5 mm', 'more than 5 mm'],
  ['under 5 mm', '5 mm'],
  ['5 mm', 'at least 5 mm'],
  ['no more than 5 mm', 'more than 5 mm'],
  ['about 5 mm', '5.4 mm'],
  ['1.5 cm', '15.4 mm'],
  ['anything', '-'],
  ['anything', '!?'],
  ['1.015', '1015'],
])('%j does not say %j', (answer, right) => {
  expect(matches(answer, right)).toBe(false);
});

test('every answer of the sample says itself, and none that another question of its family has for a number', async () => {
  const { questions } = await readSet(fileURLToPath(new URL('../../sample', import.meta.url)));
  const asked = questions.filter(({ unanswerable }) => !unanswerable);
  const told = asked.map((question) => ({ question, answers: answersOf(question), words: question.question }));
  const wrong: string[] = [];
  for (const { question, answers, words } of told) {
    for (const answer of answers)
      if (!matchesNormalised(`${answer} [1].`, { question: words, answers })) wrong.push(`${question.id} is not ${answer}`);
    // A number alone, or one with its unit: what begins so and goes on in brackets is the same number.
    if (!/^\d+(?:\.\d+)?(?: [\p{L}²]+)?$/u.test(question.answer ?? '')) continue;
    for (const other of told) {
      const [answer = ''] = other.answers;
      if (other.question.family !== question.family || answer.replace(/ \(.*/, '') === question.answer) continue;
      if (matchesNormalised(answer, { question: words, answers })) wrong.push(`${question.id} is ${answer}`);
    }
  }
  expect(wrong).toEqual([]);
  expect(told.length).toBeGreaterThan(200);
});

const FIT = 'Do the mounting holes of the Kestrel R26 fit socket AM5?';
const FITS = 'Yes: the drawing shows holes 54 x 90 mm apart, marked AM4 / AM5.';

test.each([
  ['Yes [1].', true],
  ['Yes: the holes are 54 x 90 mm apart, for AM4 and AM5 [1].', true],
  ['是的。', true],
  ['适合。', true],
  ['No.', false],
  ['不适合。', false],
  ['Yes: the holes are 75 x 75 mm apart.', false],
  ['Yes, it fits LGA1200.', false],
  ['Not as far as I can see.', false],
  ['Yesterday', false],
  ['It fits.', false],
  ['对不起，图中没有显示', false],
  ['对不起。', false],
  ['是否适合取决于主板。', false],
  ['是不是适合，看型号。', false],
  ['有没有要看图纸。', false],
])('of a yes: %j is %p', (answer, right) => {
  expect(matches(answer, FITS, FIT)).toBe(right);
});

test.each([
  ['No [1].', true],
  ['否', true],
  ['No: only 78 x 78 mm (LGA1700).', true],
  ['No: only 75 x 75 mm.', false],
  ['Yes', false],
  ['None', false],
  ['No: the drawing does not show AM5.', true],
  ['Not stated in the record [1].', false],
  ['No information is given [1].', false],
  ['No idea.', false],
  ['Not sure.', false],
  ['不清楚。', false],
  ['没有显示。', false],
  ['无论如何', false],
])('of a no: %j is %p', (answer, right) => {
  expect(matches(answer, 'No: the drawing shows only 78 x 78 mm (LGA1700 / LGA1851).', FIT)).toBe(right);
});

test.each([
  ['None of them.', true],
  ['No vertebra is abnormal: L1 to L5 look alike [1].', true],
  ['L3', false],
  ['None but L6', false],
  ['Nothing is stated [1].', false],
  ['No information is given [1].', false],
])('of a none: %j is %p', (answer, right) => {
  expect(matches(answer, 'None: L1 to L5 look alike.', 'Which vertebra is abnormal in radiograph R-5919?')).toBe(right);
});

test('numbers and codes of the question may be repeated, and other accepted answers are as good', () => {
  expect(matches('In problem 480 the sum is 1015 [1].', '1015', 'What is the sum in problem 480?')).toBe(true);
  expect(matches('In problem 481 the sum is 1015 [1].', '1015', 'What is the sum in problem 480?')).toBe(false);
  expect(matches('Connector CX-255 has 4 pins.', '4', 'How many pins does connector CX-255 have?')).toBe(true);
  expect(matches('四个', ['none', '4'])).toBe(true);
});

test('what sounds like not knowing is told from an answer', () => {
  for (const refusal of [
    'The sources do not say.',
    '资料中没有说明。',
    'The drawing does not show it.',
    "I don't know.",
    'That is not in the sources.',
    'I do not know: nothing in the catalogue matches this question.',
    '我不知道：目录中没有与此问题相符的内容。',
    '资料中没有答案。',
  ])
    expect([refusal, soundsLikeRefusal(refusal)]).toEqual([refusal, true]);
  for (const answer of ['No: the drawing shows only 78 x 78 mm.', 'It has no pins.', '没有货', '4 mm'])
    expect([answer, soundsLikeRefusal(answer)]).toEqual([answer, false]);
});
