/**
 * `npm run recall [-- --set labels.jsonl] [--limit n] [--json]`: asks a running stack queries with known answers, and prints recall@1/5/10 by
 * split, language and leg, against chance. By default the sample's held-out queries.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { indexView, searchResponse, type SearchRequest } from '@sightline/shared/contracts/http';
import { recallAt } from '@sightline/shared/retrieval/ranking-metrics';
import { clientFromEnvironment, type ApiClient } from './api-client.ts';
import { fusedRanking } from './evaluation/ranked-search.ts';
import { labelPicture, readLabels, shuffled, type LabelLine } from './labelled-queries.ts';
import { runCommand } from './run-command.ts';

const CUTS = [1, 5, 10];
const AT_ONCE = 4;
/** A leg is asked alone by the mode that has no other. `text` is the text space with the keywords. */
const MODES = { words: ['hybrid', 'visually_similar', 'text'], picture: ['visually_similar'] } as const;
const LEG_NAMES = { hybrid: 'all legs', visually_similar: 'visual', text: 'text+keywords' };
type Mode = keyof typeof LEG_NAMES;

interface Row {
  group: string;
  leg: string;
  n: number;
  recall: number[];
}

/** Recall at each cut. */
async function recallsOf(client: ApiClient, line: LabelLine, mode: Mode, picture: string | null): Promise<number[]> {
  const request: SearchRequest = {
    mode,
    limit: Math.max(...CUTS),
    ...(line.query ? { query: line.query } : {}),
    ...(picture ? { image: { data: picture } } : {}),
  };
  const { results } = await client.post('/v1/search', request, searchResponse);
  const ranking = fusedRanking(results);
  return CUTS.map((cut) => recallAt(ranking, new Set(line.relevant), cut));
}

async function measure(client: ApiClient, lines: LabelLine[], limit: number): Promise<Row[]> {
  const groups = Map.groupBy(
    lines.filter((line) => line.relevant.length > 0),
    (line) =>
      [
        line.query === undefined ? 'picture to picture' : `words to picture, ${line.lang ?? '-'}, ${line.kind ?? 'words'}`,
        line.split ?? '',
      ].join(', '),
  );
  const rows: Row[] = [];
  for (const [group, all] of [...groups].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const chosen = shuffled(all, (line) => `${line.query} ${line.image}`).slice(0, limit);
    for (const mode of MODES[chosen[0]?.query === undefined ? 'picture' : 'words']) {
      const recalls: number[][] = [];
      const waiting = [...chosen];
      const work = async () => {
        for (let line = waiting.pop(); line; line = waiting.pop())
          recalls.push(await recallsOf(client, line, mode, await labelPicture(line)));
      };
      await Promise.all(Array.from({ length: AT_ONCE }, work));
      const recall = CUTS.map((_, i) => recalls.reduce((sum, one) => sum + (one[i] ?? 0), 0) / recalls.length);
      rows.push({ group, leg: LEG_NAMES[mode], n: recalls.length, recall });
      process.stderr.write('.');
    }
  }
  process.stderr.write('\n');
  return rows;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { set: { type: 'string' }, limit: { type: 'string', default: '100' }, json: { type: 'boolean', default: false } },
  });
  const client = clientFromEnvironment();
  const lines = await readLabels(values.set ?? fileURLToPath(new URL('../sample/recall.jsonl', import.meta.url)));
  const held = lines.some((line) => line.use === 'test') ? lines.filter((line) => line.use === 'test') : lines;
  const { assets } = await client.get('/v1/index', indexView);
  const rows = await measure(client, held, Number(values.limit));
  const share = (value: number) => (value * 100).toFixed(1).padStart(7);
  if (values.json) {
    console.log(
      JSON.stringify(
        {
          assets,
          rows: rows.map(({ recall, ...row }) => ({
            ...row,
            recall: Object.fromEntries(CUTS.map((cut, i) => [cut, recall[i] ?? 0])),
          })),
        },
        null,
        2,
      ),
    );
    return 0;
  }
  const width = Math.max(...rows.map(({ group }) => group.length));
  console.log(`Recall in per cent over ${assets} assets.`);
  console.log(
    `${'queries'.padEnd(width)}  ${'leg'.padEnd(14)} ${'n'.padStart(5)} ${CUTS.map((cut) => `R@${cut}`.padStart(7)).join('')}`,
  );
  for (const { group, leg, n, recall } of rows)
    console.log(`${group.padEnd(width)}  ${leg.padEnd(14)} ${String(n).padStart(5)} ${recall.map(share).join('')}`);
  console.log(
    `${'chance'.padEnd(width)}  ${''.padEnd(14)} ${''.padStart(5)} ${CUTS.map((cut) => share(Math.min(1, cut / assets))).join('')}`,
  );
  return 0;
}

if (import.meta.main) await runCommand(main);
