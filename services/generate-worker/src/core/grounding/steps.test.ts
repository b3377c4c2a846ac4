import { expect, test } from '@jest/globals';
import { numberSteps, withSteps } from './steps.ts';

test.each<[string, string, string[]]>([
  ['1. Read.\n2. Add.\n\nSo 5.', '1. Read.\n2. Add.\n\nSo 5.', ['Read.', 'Add.']],
  ['So:\n3) Read\n   on.\n3) Add.', 'So:\n1. Read\n   on.\n2. Add.', ['Read on.', 'Add.']],
  ['Step 1: Read.\n**Step 2:** Add.', '1. Read.\n2. Add.', ['Read.', 'Add.']],
  ['第一步：看图。\n第二步，相加。', '1. 看图。\n2. 相加。', ['看图。', '相加。']],
  ['步骤1：看图。\n(2) 相加。', '1. 看图。\n2. 相加。', ['看图。', '相加。']],
  ['1.\n2. Add.\n', '1. Add.', ['Add.']],
])('%j', (text, numbered, steps) => {
  expect(numberSteps(text)).toEqual({ text: numbered, steps });
});

test('a text without numbered lines has no steps', () => {
  expect(numberSteps('It is\n1.5 mm\n2020 was a year\n12mm')).toBeNull();
  expect(numberSteps('')).toBeNull();
});

test('steps that came apart are put before the answer', () => {
  expect(withSteps(['1. Read\nit', 'Step 2: Add'], 'So 5.')).toBe('1. Read it\n2. Add\n\nSo 5.');
});
