import { expect, test } from '@jest/globals';
import type { QuestionEventData } from '@sightline/shared/contracts/questions';
import { TokenStream } from './token-stream.ts';

function opened(held = true) {
  const written: QuestionEventData[] = [];
  const clock = { ms: 1_000 };
  const stream = new TokenStream(
    {
      write: async (event) => {
        if (held) written.push(event);
        return held;
      },
      nowMs: () => clock.ms,
      lost: () => new Error('lost'),
    },
    2,
  );
  const texts = () => written.map((event) => (event.type === 'tokens' ? event.text : '?'));
  return { stream, clock, written, texts };
}

test('the first text goes at once, what follows is gathered', async () => {
  const { stream, clock, written, texts } = opened();
  await stream.add('The');
  await stream.add(' holes');
  await stream.add(' are');
  expect(written).toEqual([{ type: 'tokens', attempt: 2, text: 'The' }]);
  clock.ms += 150;
  await stream.add(' apart');
  await stream.add('.');
  await stream.flush();
  expect(texts()).toEqual(['The', ' holes are apart', '.']);
});

test('long text does not wait for its time', async () => {
  const { stream, texts } = opened();
  await stream.add('a');
  await stream.add('b'.repeat(400));
  expect(texts()).toEqual(['a', 'b'.repeat(400)]);
});

test('nothing to say writes nothing', async () => {
  const { stream, written } = opened();
  await stream.add('');
  await stream.flush();
  expect(written).toEqual([]);
});

test('who has lost the question stops', async () => {
  const { stream } = opened(false);
  await expect(stream.add('x')).rejects.toThrow('lost');
});

test('a character that comes in two pieces is not cut through, unless it never ends', async () => {
  const { stream, texts } = opened();
  const [first = '', second = ''] = '😀'.split('');
  await stream.add(`${'x'.repeat(400)}${first}`);
  await stream.add(`${second}${'y'.repeat(400)}${first}`);
  await stream.flush();
  expect(texts()).toEqual(['x'.repeat(400), `😀${'y'.repeat(400)}`, '\ufffd']);
});
