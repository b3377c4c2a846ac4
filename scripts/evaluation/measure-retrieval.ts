import { searchResponse, type SearchRequest, type SearchResponse } from '@sightline/shared/contracts/http';
import { RRF_K } from '@sightline/shared/retrieval/reciprocal-rank-fusion';
import type { ApiClient } from '../api-client.ts';
import { shuffled } from '../labelled-queries.ts';
import { untilTaken } from '../patience.ts';
import { workAll, type WorkOptions } from './progress.ts';
import { pictureOfSet, type QuestionSet, type SetQuery, type SetQuestion } from './question-set.ts';
import { articleScores, fusedRanking, legRanking, rankingScores, withAlpha, withRrfK, type LegName } from './ranked-search.ts';
import type { Measures } from './run.ts';

/** As the product asks its legs where nothing is said, so that what is measured is what users get. */
const CANDIDATES = { words: 15, picture: 20 };
/** The legs' whole union comes back: four legs of twenty, and what codes bring. */
const MOST_RESULTS = 100;
const RRF_KS = [1, 5, 10, 20, 40, RRF_K, 100, 200];
const ALPHAS = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1];
const LEGS: readonly LegName[] = ['image', 'words', 'text', 'keywords'];

/** Something to search with; nothing answers it where `relevant` is empty. */
interface Ask {
  id: string;
  kind: 'words' | 'picture' | 'both';
  /** Where its figures stand besides those of its kind. */
  group: string;
  /** One of the questions; they stand apart from the queries. */
  isQuestion: boolean;
  query: string | null;
  image: string | null;
  relevant: string[];
}

export interface RetrievalOptions extends WorkOptions {
  /** Queries of each group at most. */
  limit: number;
}

/**
 * Searches for what is known to be there (and what is not), and adds `retrieval.*` and `latency.search.*`: one explained search a query
 * gives the fused order, each leg's own, and what other weights would have made of the same candidates.
 */
export async function measureRetrieval(
  client: ApiClient,
  set: QuestionSet,
  questions: readonly SetQuestion[],
  measures: Measures,
  options: RetrievalOptions,
): Promise<void> {
  const asks = [...asksOf(set, options.limit), ...questionAsks(questions)];
  await workAll('searching', asks, options, async (ask) =>
    add(measures, ask, await untilTaken(() => search(client, set, ask), options)),
  );
}

async function search(client: ApiClient, set: QuestionSet, ask: Ask): Promise<SearchResponse> {
  const picture = ask.image === null ? null : await pictureOfSet(set.dir, ask.image);
  if (ask.image !== null && picture === null) throw new Error(`The set has no picture ${ask.image}.`);
  const k = ask.kind === 'words' ? CANDIDATES.words : CANDIDATES.picture;
  const request: SearchRequest = {
    ...(ask.query === null ? {} : { query: ask.query }),
    ...(picture === null ? {} : { image: { data: picture } }),
    k: { image: k, text: k, keywords: k },
    limit: MOST_RESULTS,
    explain: true,
  };
  return client.post('/v1/search', request, searchResponse);
}

function add(measures: Measures, ask: Ask, { results, no_match: noMatch, timings_ms: timings }: SearchResponse): void {
  for (const [stage, ms] of Object.entries(timings))
    measures.add(`latency.search.${stage}`, ask.id, ms, { better: 'lower', statistics: ['p50', 'p95'] });
  const group = ask.relevant.length === 0 ? 'absent' : 'present';
  if (!ask.isQuestion)
    measures.add(`retrieval.${group}.no_match`, ask.id, noMatch ? 1 : 0, { better: group === 'absent' ? 'higher' : 'lower' });
  if (ask.relevant.length === 0) return;

  const relevant = new Set(ask.relevant);
  const rankings = new Map([['all', fusedRanking(results)]]);
  for (const leg of LEGS) {
    const ranking = legRanking(results, leg);
    if (ranking.length > 0 || isSearched(ask, leg)) rankings.set(leg, ranking);
  }
  for (const name of ask.isQuestion ? ['questions'] : [ask.kind, ask.group])
    for (const [leg, ranking] of rankings)
      for (const [score, value] of Object.entries(rankingScores(ranking, relevant)))
        measures.add(`retrieval.${name}.${leg}.${score}`, ask.id, value);
  for (const [score, value] of Object.entries(articleScores(results))) measures.add(`retrieval.article.${score}`, ask.id, value);
  if (ask.kind === 'words') for (const k of RRF_KS) sweep(measures, `rrf_k.${k}`, ask.id, withRrfK(results, k), relevant);
  if (ask.kind === 'both')
    for (const alpha of ALPHAS) sweep(measures, `alpha.${alpha}`, ask.id, withAlpha(results, alpha), relevant);
}

function isSearched({ kind }: Ask, leg: LegName): boolean {
  if (leg === 'image') return true;
  return leg === 'words' ? kind === 'both' : kind !== 'picture';
}

function sweep(measures: Measures, at: string, id: string, ranking: string[], relevant: ReadonlySet<string>): void {
  const { ndcg_10: ndcg = 0, recall_1: recall = 0 } = rankingScores(ranking, relevant);
  measures.add(`retrieval.sweep.${at}.ndcg_10`, id, ndcg);
  measures.add(`retrieval.sweep.${at}.recall_1`, id, recall);
}

/** The labelled queries that are to be reported on, at most so many of each group, and pictures asked together with words for the same. */
function asksOf(set: QuestionSet, limit: number): Ask[] {
  const reported = (lines: readonly SetQuery[], isTest: (line: SetQuery) => boolean) =>
    lines.some(isTest) ? lines.filter(isTest) : [...lines];
  const queries = reported(set.queries, ({ use }) => use === 'test');
  const absent = reported(set.absent, ({ split }) => split === 'test');
  const present = limited(queries, limit);
  const pairs = queries.flatMap((line) => pairOf(line, queries));
  return toldApart([...present.map(askOf), ...limited(pairs, limit).map(askOf), ...limited(absent, limit).map(askOf)]);
}

/** The same words with another thing to find are another query: from the second on it is named by that too. */
function toldApart(asks: Ask[]): Ask[] {
  const seen = new Set<string>();
  return asks.map((ask) => {
    const id = seen.has(ask.id) ? `${ask.id} | ${ask.relevant.join(',')}` : ask.id;
    seen.add(id);
    return { ...ask, id };
  });
}

/** A picture alone gets the words of a query for the same thing, so that both together are asked too. */
function pairOf(line: SetQuery, queries: readonly SetQuery[]): SetQuery[] {
  if (line.image === undefined || line.query !== undefined) return [];
  const words = queries.find(
    ({ query, image, relevant }) =>
      query !== undefined && image === undefined && relevant.some((id) => line.relevant.includes(id)),
  );
  return words ? [{ ...line, query: words.query, ...(words.lang && { lang: words.lang }) }] : [];
}

function limited(lines: readonly SetQuery[], limit: number): SetQuery[] {
  return [...Map.groupBy(lines, (line) => `${kindOf(line)} ${groupOf(line)}`).values()].flatMap((group) =>
    shuffled(group, (line) => `${line.query} ${line.image}`).slice(0, limit),
  );
}

function kindOf({ query, image }: SetQuery): Ask['kind'] {
  if (image === undefined) return 'words';
  return query === undefined ? 'picture' : 'both';
}

function groupOf(line: SetQuery): string {
  return [kindOf(line), line.lang, line.kind === 'image' ? undefined : line.kind, line.split]
    .filter((part) => part !== undefined)
    .join('_')
    .replaceAll(/[^\p{L}\p{N}_-]+/gu, '-');
}

function askOf(line: SetQuery): Ask {
  const { query, image, relevant } = line;
  return {
    id: [query, image, relevant.length === 0 ? 'absent' : undefined].filter((part) => part !== undefined).join(' | '),
    kind: kindOf(line),
    group: groupOf(line),
    isQuestion: false,
    query: query ?? null,
    image: image ?? null,
    relevant,
  };
}

function questionAsks(questions: readonly SetQuestion[]): Ask[] {
  return questions.flatMap(({ id, question, item_id: itemId, unanswerable }) =>
    unanswerable || itemId === undefined
      ? []
      : [
          {
            id: `question ${id}`,
            kind: 'words' as const,
            group: 'questions',
            isQuestion: true,
            query: question,
            image: null,
            relevant: [itemId],
          },
        ],
  );
}
