/**
 * `npm run ask -- "words" [--image file]`: asks a running stack a question, shows the answer as it is written, then what it rests on.
 * Ctrl-C cancels the question.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  questionAccepted,
  questionRetrieved,
  questionTokens,
  questionView,
  type QuestionRequest,
  type QuestionView,
} from '@sightline/shared/contracts/question-http';
import { ApiError, clientFromEnvironment, type ApiClient } from './api-client.ts';
import { printable, printableLines } from './printable.ts';
import { runCommand } from './run-command.ts';
import { pictureOf } from './search.ts';
import { parseFilter } from '../services/query-api/src/page/filter-text.js';

const USAGE = `usage: npm run ask -- ["words"] [--image file] [options]
  --image <file>     a picture to ask about
  --steps            the way to the answer, in numbered steps
  --mode <mode>      what is searched: hybrid (default), text, visually_similar
  --k <n>            sources that are shown to the model (5)
  --max-images <n>   pictures that are shown to it at most
  --filter <text>    such as "kind=product price<=20 colour=red,blue"
  --language <tag>   of the answer
  --adapter <name>   a LoRA adapter of the model server
  --follow           show the answer as it is written, also where the output is no terminal
  --json             the question as it ended`;

/** Connections that end without the answer's end, one after the other. */
const MOST_BREAKS = 5;
const RECONNECT_MS = 1_000;

/** Asks, and follows the answer to its end over connections that break. `show` is told of the text as it comes, and when it begins anew. */
export async function askAndFollow(
  client: ApiClient,
  request: Partial<Record<keyof QuestionRequest, unknown>>,
  { signal, show }: { signal: AbortSignal; show: (text: string) => void },
): Promise<QuestionView> {
  const { links } = await client.post('/v1/questions', request, questionAccepted);
  try {
    return await follow(client, links.events, { signal, show });
  } catch (error) {
    if (!signal.aborted) throw error;
    return client.delete(links.self, questionView).catch((refused: unknown) => {
      // It was over before it could be cancelled.
      if (refused instanceof ApiError && refused.code === 'question_state') return client.get(links.self, questionView);
      throw refused;
    });
  }
}

async function follow(
  client: ApiClient,
  path: string,
  { signal, show }: { signal: AbortSignal; show: (text: string) => void },
): Promise<QuestionView> {
  let after = '';
  for (let breaks = 0; ; await sleep(RECONNECT_MS, undefined, { signal })) {
    try {
      for await (const { id, event, data } of client.events(path, { after, signal })) {
        if (event === 'done') return questionView.parse(data);
        if (event === 'retrieved') show(retrievedLine(questionRetrieved.parse(data)));
        if (event === 'tokens') show(printableLines(questionTokens.parse(data).text));
        after = id;
        breaks = 0;
      }
      breaks++;
    } catch (error) {
      if (signal.aborted || error instanceof ApiError || ++breaks >= MOST_BREAKS) throw error;
    }
    if (breaks >= MOST_BREAKS) throw new Error(`${client.url} ends the stream before the answer's end.`);
  }
}

function retrievedLine({ attempt, sources, no_match: noMatch }: ReturnType<typeof questionRetrieved.parse>): string {
  const anew = attempt > 1 ? '\n\n  It is begun again.\n' : '';
  return `${anew}  ${noMatch ? 'Nothing relevant was found.' : `${sources.length} sources.`}\n\n`;
}

/** A question that is over, for people. */
export function printQuestion(question: QuestionView, url: string): void {
  for (const warning of question.warnings) console.log(`  ! ${printable(warning)}`);
  if (question.error)
    console.log(`  failed: ${question.error.code}${question.error.detail ? ` (${printable(question.error.detail)})` : ''}`);
  if (question.status === 'cancelled') console.log('  The question is cancelled.');
  if (question.answer !== null) console.log(`\n${printableLines(question.answer)}\n`);
  // The answer's text has them, as a rule.
  question.steps?.forEach((step, n) => {
    if (!question.answer?.includes(step)) console.log(`  ${n + 1}. ${printable(step)}`);
  });
  for (const { citation_id: id, relevance_score: score, title, object, quote } of question.citations) {
    const place = object ? `  ${printable(object.key)}` : '';
    console.log(`  ${id.padStart(3)}  ${String(Math.round(score * 100)).padStart(3)} %  ${printable(title)}${place}`);
    if (quote !== null) console.log(`       "${printable(quote)}"`);
  }
  for (const { text, verdict } of question.claims)
    if (verdict === 'unsupported') console.log(`  ! not supported by its source: ${printable(text)}`);
  for (const { image, label, pixels } of question.boxes)
    console.log(`  box in picture ${image}: ${printable(label)} [${pixels.join(', ')}]`);
  for (const { n, href } of question.images) console.log(`  picture ${n}: ${url}${href}`);
  if (question.timings_ms) {
    const parts = Object.entries(question.timings_ms).flatMap(([stage, ms]) =>
      ms === null || stage === 'total' ? [] : [`${stage.replace('_', ' ')} ${ms.toFixed(0)}`],
    );
    console.log(
      `  ${question.timings_ms.total.toFixed(0)} ms (${parts.join(', ')})${question.model ? `, ${question.model}` : ''}`,
    );
  }
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      image: { type: 'string' },
      steps: { type: 'boolean', default: false },
      mode: { type: 'string' },
      k: { type: 'string' },
      'max-images': { type: 'string' },
      filter: { type: 'string' },
      language: { type: 'string' },
      adapter: { type: 'string' },
      follow: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const question = positionals.join(' ').trim();
  if (values.help || (!question && !values.image)) {
    console.error(USAGE);
    return 2;
  }
  // The server parses: what is wrong here comes back named.
  const request: Partial<Record<keyof QuestionRequest, unknown>> = {
    question,
    show_steps: values.steps,
    ...(values.image ? { image: await pictureOf(values.image) } : {}),
    ...(values.mode ? { mode: values.mode } : {}),
    ...(values.k ? { k: Number(values.k) } : {}),
    ...(values['max-images'] ? { max_images: Number(values['max-images']) } : {}),
    ...(values.filter ? { filter: parseFilter(values.filter) } : {}),
    ...(values.language ? { language: values.language } : {}),
    ...(values.adapter ? { adapter: values.adapter } : {}),
  };
  const isShown = !values.json && (values.follow || process.stdout.isTTY);
  const show = (text: string) => void (isShown && process.stdout.write(text));
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  const client = clientFromEnvironment();
  const ended = await askAndFollow(client, request, { signal: stop.signal, show });
  if (values.json) console.log(JSON.stringify(ended, null, 2));
  else {
    if (isShown) console.log('\n');
    printQuestion(ended, client.url);
  }
  if (stop.signal.aborted) return 130;
  return ended.status === 'answered' ? 0 : 1;
}

if (import.meta.main) await runCommand(main);
