import { expect, test } from '@jest/globals';
import { majorityAnswers } from './majority-answer.ts';
import { newQuestion } from './testing/set-builder.ts';

const fits = (n: number, answer: string) =>
  newQuestion({
    id: `q${n}`,
    question: `Do the holes of the Kestrel R${n} fit socket AM${n}?`,
    answer,
    item_id: `item-${n}`,
    family: 'cooler',
  });
const items = new Map(
  [1, 2, 3, 4, 5].map((n) => [
    `item-${n}`,
    { item_id: `item-${n}`, title: `Kestrel R${n} CPU cooler`, attributes: {}, images: [] },
  ]),
);

test('the majority is that of questions of the same form, by what the answers say and not how', () => {
  const known = [fits(1, 'Yes: 54 x 90 mm.'), fits(2, 'No: 78 x 78 mm.'), fits(3, 'No: 75 x 75 mm.')];
  const [asked] = [fits(4, 'Yes: 1 mm')];
  expect(majorityAnswers([asked], known, items)).toEqual(new Map([['q4', 'No']]));
});

test('a form that is hardly known falls back on its family, and that on all', () => {
  const known = [
    newQuestion({ id: 'a', question: 'How many pins has it?', answer: '4', family: 'connector' }),
    newQuestion({ id: 'b', question: 'How many rows has it?', answer: '4', family: 'connector' }),
    newQuestion({ id: 'c', question: 'How many holes has it?', answer: '6', family: 'connector' }),
  ];
  const other = newQuestion({ id: 'd', question: 'How wide is it?', answer: '9 mm', family: 'connector' });
  const foreign = newQuestion({ id: 'e', question: 'How old is it?', answer: '9', family: 'fossil' });
  expect(majorityAnswers([other, foreign], known, new Map())).toEqual(
    new Map([
      ['d', '4'],
      ['e', '4'],
    ]),
  );
  expect(majorityAnswers([other], [], new Map())).toEqual(new Map([['d', null]]));
});

test('a question that is itself known gives nothing to its own answer', () => {
  const asked = [fits(1, 'Yes: 54 x 90 mm.'), fits(2, 'Yes: 75 x 75 mm.'), fits(3, 'No: 78 x 78 mm.'), fits(4, 'No: 1 mm.')];
  // Of the three others two say the other thing.
  expect([...majorityAnswers(asked, asked, items).values()]).toEqual(['No', 'No', 'Yes', 'Yes']);
  const [alone] = asked.map((question) => ({ ...question, family: 'alone' }));
  expect(alone && majorityAnswers([alone], [alone], items)).toEqual(new Map([['q1', null]]));
});
