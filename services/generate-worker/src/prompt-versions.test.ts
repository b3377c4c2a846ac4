import { expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PROMPTS = fileURLToPath(new URL('../prompts', import.meta.url));

/** A version that answers were made with is never worded anew: a new wording is a new version beside it. */
const WORDED: Record<string, string> = {
  'answer-v1': '821982fa3ef779b3',
  'claim-check-v1.txt': '90bbb81cc4198341',
};

test('the wording of each version of the prompts is what it was', () => {
  const digests = Object.fromEntries(
    readdirSync(PROMPTS, { withFileTypes: true }).map((entry) => {
      const path = join(PROMPTS, entry.name);
      const files = entry.isDirectory()
        ? readdirSync(path)
            .toSorted((a, b) => (a < b ? -1 : 1))
            .map((name) => join(path, name))
        : [path];
      const hash = createHash('sha256');
      for (const file of files) hash.update(readFileSync(file));
      return [entry.name, hash.digest('hex').slice(0, 16)];
    }),
  );
  expect(digests).toEqual(WORDED);
});
