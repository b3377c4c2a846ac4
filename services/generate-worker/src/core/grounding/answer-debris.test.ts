import { expect, test } from '@jest/globals';
import { cutDebris } from './answer-debris.ts';

test.each([
  ['It fits [1].<|im_end|>', 'It fits [1].'],
  ['It fits.</s><s>USER: and?', 'It fits.'],
  ['ASSISTANT: It fits.\nUSER: And AM5?\nASSISTANT: No', 'It fits.'],
  ['<|im_start|>assistant\nIt fits.<|im_end|>\n<|im_start|>user\nmore', 'It fits.'],
  ['<|assistant|> Assistant: <image>It fits.<|end|>', 'It fits.'],
  ['<think>\nis it so\n</think>\n\nYes.', 'Yes.'],
  ['### Assistant: Yes.\n### Human: why', 'Yes.'],
  ['The word ASSISTANT: stands within, and a <b>tag</b>, 3 < 4.', 'The word ASSISTANT: stands within, and a <b>tag</b>, 3 < 4.'],
  ['<|im_end|>', ''],
])('%j is rid of its template', (text, expected) => {
  expect(cutDebris(text)).toBe(expected);
});
