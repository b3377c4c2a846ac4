/** `npm run search -- "words" [--image file]`: asks a running stack, and prints what it found and why. */
import { readFile } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { searchResponse, type SearchRequest, type SearchResponse, type SearchResult } from '@sightline/shared/contracts/http';
import { clientFromEnvironment } from './api-client.ts';
import { printable } from './printable.ts';
import { runCommand } from './run-command.ts';
import { parseFilter } from '../services/query-api/src/page/filter-text.js';

const USAGE = `usage: npm run search -- ["words"] [--image file] [options]
  --image <file>     a picture to search with
  --mode <mode>      hybrid (default), text, visually_similar
  --alpha <0..1>     weight of what is seen, with words and a picture (0.7)
  --limit <n>        results (5)
  --filter <text>    such as "kind=product price<=20 colour=red,blue"
  --group-by <what>  item (default) or asset
  --min-score <0..1> leave out what is less relevant
  --explain          each leg's rank and score
  --json             the answer as it came`;

/** A picture's file as the data URL that the interface takes; what the bytes are is found out by the server. */
export async function pictureOf(path: string): Promise<{ data: string }> {
  const file = resolve(process.env['INIT_CWD'] ?? process.cwd(), path);
  const bytes = await readFile(file).catch(() => {
    throw new Error(`There is no file at ${file}.`);
  });
  return { data: `data:image/${extname(file).slice(1).toLowerCase() || 'octet-stream'};base64,${bytes.toString('base64')}` };
}

/** An answer as a table for people; with explanations, a line per result says which leg brought it where. */
export function printAnswer(answer: SearchResponse): void {
  for (const warning of answer.warnings) console.log(`  ! ${warning}`);
  if (answer.no_match)
    console.log(answer.results.length > 0 ? '  Nothing matches. The nearest, probably something else:' : '  Nothing matches.');
  const titles = answer.results.map((result) => cut(titleOf(result), 44));
  const width = Math.max(5, ...titles.map(widthOf));
  answer.results.forEach((result, i) => {
    const score = `${bar(result.relevance_score)} ${String(Math.round(result.relevance_score * 100)).padStart(3)} %`;
    console.log(
      `  ${result.citation_id.padStart(3)}  ${score}  ${pad(titles[i] ?? '', width)}  ${printable(result.item_id ?? '-')}  ${printable(result.object?.key ?? '')}`,
    );
    if (result.explain) console.log(`       ${explain(result.explain)}`);
  });
  const { encode, index, fuse, total } = answer.timings_ms;
  console.log(`  ${total.toFixed(1)} ms (encode ${encode.toFixed(1)}, index ${index.toFixed(1)}, fuse ${fuse.toFixed(1)})`);
}

function explain({ image, words, text, keywords, alignment, code }: NonNullable<SearchResult['explain']>): string {
  const leg = (name: string, signal: { rank: number | null; score: number | null } | undefined, digits: number) =>
    !signal || (signal.score === null && signal.rank === null)
      ? []
      : [
          `${name} ${signal.rank === null ? '-' : `#${signal.rank}`}${signal.score === null ? '' : ` (${signal.score.toFixed(digits)})`}`,
        ];
  const parts = [...leg('image', image, 3), ...leg('words', words, 3), ...leg('text', text, 3), ...leg('keywords', keywords, 1)];
  if (alignment !== null) parts.push(`alignment ${(alignment * 100).toFixed(1)} %`);
  if (code) parts.push('exact code');
  return parts.join(' · ');
}

function titleOf(result: SearchResult): string {
  return result.title || result.object?.key.split('/').at(-1) || result.text || '(untitled)';
}

function bar(share: number): string {
  const full = Math.round(share * 10);
  return '█'.repeat(full) + '░'.repeat(10 - full);
}

const WIDE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff01-\uff60]/u;

/** Terminal cells: Chinese and the like take two. */
function widthOf(text: string): number {
  return [...text].reduce((sum, char) => sum + (WIDE.test(char) ? 2 : 1), 0);
}

function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)));
}

function cut(text: string, width: number): string {
  let kept = '';
  for (const char of printable(text.replaceAll(/\s+/g, ' '))) {
    if (widthOf(kept) + widthOf(char) > width - 1) return `${kept}…`;
    kept += char;
  }
  return kept;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      image: { type: 'string' },
      mode: { type: 'string' },
      alpha: { type: 'string' },
      limit: { type: 'string' },
      filter: { type: 'string' },
      'group-by': { type: 'string' },
      'min-score': { type: 'string' },
      explain: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const query = positionals.join(' ').trim();
  if (values.help || (!query && !values.image)) {
    console.error(USAGE);
    return 2;
  }
  // The server parses: what is wrong here comes back named.
  const request: Partial<Record<keyof SearchRequest, unknown>> = {
    ...(query ? { query } : {}),
    ...(values.image ? { image: await pictureOf(values.image) } : {}),
    ...(values.mode ? { mode: values.mode } : {}),
    ...(values.alpha ? { alpha: Number(values.alpha) } : {}),
    ...(values.limit ? { limit: Number(values.limit) } : {}),
    ...(values.filter ? { filter: parseFilter(values.filter) } : {}),
    ...(values['group-by'] ? { group_by: values['group-by'] } : {}),
    ...(values['min-score'] ? { min_score: Number(values['min-score']) } : {}),
    explain: values.explain,
  };
  const answer = await clientFromEnvironment().post('/v1/search', request, searchResponse);
  if (values.json) console.log(JSON.stringify(answer, null, 2));
  else printAnswer(answer);
  return 0;
}

if (import.meta.main) await runCommand(main);
