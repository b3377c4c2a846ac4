import { test, expect } from '@jest/globals';
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ERRORS } from '@sightline/shared/runtime/errors';
import { generatedDocuments } from '../scripts/docs.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

function sourceFiles(folder: string): string[] {
  return readdirSync(`${root}${folder}`, { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.(ts|mjs)$/.test(path) && !path.includes('node_modules') && !path.endsWith('errors.ts'))
    .map((path) => `${folder}/${path}`);
}

test('every generated document is what the code generates', async () => {
  for (const [path, text] of await generatedDocuments()) expect(readFileSync(`${root}${path}`, 'utf8')).toBe(text);
});

test('every code of the error table is raised somewhere', () => {
  const source = [...sourceFiles('packages'), ...sourceFiles('services'), ...sourceFiles('scripts')]
    .filter((path) => !path.endsWith('.test.ts'))
    .map((path) => readFileSync(`${root}${path}`, 'utf8'))
    .join('\n');
  const unused = Object.keys(ERRORS).filter((code) => !source.includes(`'${code}'`));
  expect(unused).toEqual([]);
});
