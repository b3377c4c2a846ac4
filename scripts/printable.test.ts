import { expect, test } from '@jest/globals';
import { printable } from './printable.ts';

test("a stranger's text cannot steer the terminal", () => {
  expect(printable('\u001b[2J\u001b]0;title\u0007a\nb\u202ec\u009b1m')).toBe('�[2J�]0;title�a�b�c�1m');
  expect(printable('台灯 Lamp 👩‍👩‍👧 été')).toBe('台灯 Lamp 👩‍👩‍👧 été');
});
