import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { answerBlocks, textSoFar } from './answer-text.js';

const claim = (text: string, verdict: 'supported' | 'unsupported' | 'not_checked') => ({ text, verdict });

test('an answer is parted into claims and citations of sources that there are', () => {
  const answer = 'It fits AM4 [1][3]. It weighs 2 kg [2]. Made in [2020] or [9].';
  const claims = [claim('It fits AM4 [1][3].', 'supported'), claim('It weighs 2 kg [2].', 'unsupported')];
  expect(answerBlocks({ answer, steps: null, claims }, [1, 2, 3])).toEqual([
    {
      step: null,
      parts: [
        { verdict: 'supported', pieces: [{ text: 'It fits AM4 ' }, { text: '[1]', n: 1 }, { text: '[3]', n: 3 }, { text: '.' }] },
        { verdict: null, pieces: [{ text: ' ' }] },
        { verdict: 'unsupported', pieces: [{ text: 'It weighs 2 kg ' }, { text: '[2]', n: 2 }, { text: '.' }] },
        { verdict: null, pieces: [{ text: ' Made in [2020] or [9].' }] },
      ],
    },
  ]);
});

test('steps are blocks of their own, with the lines that belong to them; without steps numbered lines are text', () => {
  const answer = '这样做：\n\n1. 测量孔距。[1]\n两次。\n2. 比较。\n\n答案是 42。';
  const texts = (steps: string[] | null) =>
    answerBlocks({ answer, steps, claims: [] }, [1]).map(({ step, parts }) => [
      step,
      parts.flatMap(({ pieces }) => pieces.map(({ text }) => text)).join(''),
    ]);
  expect(texts(['测量孔距。[1] 两次。', '比较。'])).toEqual([
    [null, '这样做：'],
    [1, '测量孔距。[1]\n两次。'],
    [2, '比较。'],
    [null, '答案是 42。'],
  ]);
  expect(texts(null)).toEqual([
    [null, '这样做：'],
    [null, '1. 测量孔距。[1]\n两次。\n2. 比较。'],
    [null, '答案是 42。'],
  ]);
});

test('the same sentence twice is two claims; one that is not in the answer is none', () => {
  const answer = 'Yes [1]. No. Yes [1].';
  const claims = [claim('Yes [1].', 'supported'), claim('Maybe.', 'unsupported'), claim('Yes [1].', 'unsupported')];
  const [block] = answerBlocks({ answer, steps: null, claims }, [1]);
  expect(block?.parts.map(({ verdict }) => verdict)).toEqual(['supported', null, 'unsupported']);
});

test('nothing of an answer is lost or made up, whatever it holds', () => {
  const bit = fc.constantFrom('a', ' ', '\n', '.', '[', ']', '[1]', '[2]', '1. ', '<b>', '孔');
  const text = fc.array(bit, { maxLength: 30 }).map((bits) => bits.join(''));
  fc.assert(
    fc.property(text, fc.array(text, { maxLength: 4 }), fc.boolean(), (answer, claimed, hasSteps) => {
      const claims = claimed.map((one) => claim(one, 'unsupported'));
      const blocks = answerBlocks({ answer, steps: hasSteps ? [] : null, claims }, [1]);
      const shown = blocks
        .map(
          ({ step, parts }) => `${step === null ? '' : `${step}. `}${parts.flatMap((p) => p.pieces.map((q) => q.text)).join('')}`,
        )
        .join('\n');
      const written = answer.split('\n').filter((line) => line.trim() !== '');
      expect(shown.split('\n').filter((line) => line.trim() !== '')).toEqual(written);
    }),
  );
});

test('while it is written, boxes and the beginnings of marks are not shown', () => {
  const whole = 'The hole [2] [[0.1,0.2,0.3,0.4]] is round, the pin [[1, 2, 3, 4], [5, 6, 7, 8]] is not [1].';
  expect(textSoFar(whole)).toBe('The hole [2] is round, the pin is not [1].');
  expect(textSoFar('[[a]] and [b] stay')).toBe('[[a]] and [b] stay');
  const shown = [...whole].map((_, i) => textSoFar(whole.slice(0, i)));
  for (const text of shown) expect(textSoFar(whole)).toContain(text);
});

test('an answer of brackets holds up nothing', () => {
  // Whoever tries each of them against all that follow is at it for hours.
  const brackets = `${'['.repeat(1_000_000)}x`;
  expect(textSoFar(brackets)).toBe(brackets);
});
