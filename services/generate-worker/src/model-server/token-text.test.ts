import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { TokenText } from './token-text.ts';

/** Tokens are single bytes, so that every character but the Latin ones comes in pieces. */
const textOf = (ids: number[]): string => Buffer.from(ids).toString('utf8');

function spoken(bytes: Iterable<number>): { pieces: string[]; rest: string } {
  const text = new TokenText(textOf);
  return { pieces: [...bytes].map((byte) => text.push(byte)), rest: text.flush() };
}

test('a character is handed out when it is whole', () => {
  const { pieces, rest } = spoken(Buffer.from('a主🙂'));
  expect(pieces).toEqual(['a', '', '', '主', '', '', '', '🙂']);
  expect(rest).toBe('');
});

test('what is never finished comes out at the end, and what is no character at all as soon as that is known', () => {
  expect(spoken([0x61, 0xe4, 0xb8])).toEqual({ pieces: ['a', '', ''], rest: '\ufffd' });
  expect(spoken([0xff, 0x61])).toEqual({ pieces: ['', '\ufffda'], rest: '' });
});

test('the pieces of any bytes come to the text of the whole', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc.string({ unit: 'grapheme' }).map((text) => Buffer.from(text)),
      ),
      (bytes) => {
        const { pieces, rest } = spoken(bytes);
        expect(pieces.join('') + rest).toBe(textOf([...bytes]));
      },
    ),
  );
});
