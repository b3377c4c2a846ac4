import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { QuestionView } from '@sightline/shared/contracts/question-http';
import { ApiClient } from '../../api-client.ts';
import { unanswered } from '../ask-set.ts';

/** What a scripted stack does with a question, by how many came before it: its answer, a refusal, or nothing more (the connection is cut). */
export type Told = { answer: string; promptTokens?: number } | { status: number; code: string } | 'cut';

/**
 * A fake stack, since a real one refuses, dies and is stopped at no moment that a test could name: it answers questions and searches as
 * told, and its index is empty. `requests`: path and body of each in order.
 */
export async function openScriptedStack(told: (nth: number) => Told | Promise<Told>): Promise<{
  client: ApiClient;
  url: string;
  requests: { path: string; body: Record<string, unknown> }[];
  close: () => Promise<void>;
}> {
  const requests: { path: string; body: Record<string, unknown> }[] = [];
  const views = new Map<string, QuestionView>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => void answer(Buffer.concat(chunks).toString()));
    const json = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    const answer = async (text: string): Promise<void> => {
      const path = request.url ?? '';
      const [, id = '', isEvents] = /^\/v1\/questions\/([^/]+)(\/events)?$/.exec(path) ?? [];
      const view = views.get(id);
      if (view && isEvents) {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(`id: 1\nevent: done\ndata: ${JSON.stringify(view)}\n\n`);
      } else if (view) json(200, view);
      else if (request.method === 'GET') json(200, INDEX);
      else {
        const nth = requests.push({ path, body: JSON.parse(text) as Record<string, unknown> }) - 1;
        const one = await told(nth);
        if (one === 'cut') request.socket.destroy();
        else if ('status' in one) json(one.status, { type: 'about:blank', title: 'Refused.', trace_id: 't', ...one });
        else if (path === '/v1/search') json(200, FOUND_NOTHING);
        else json(202, acceptedOf(`q${nth}`, one));
      }
    };
  });
  const acceptedOf = (id: string, { answer, promptTokens = 0 }: { answer: string; promptTokens?: number }) => {
    const links = { self: `/v1/questions/${id}`, events: `/v1/questions/${id}/events` };
    const usage = { prompt_tokens: promptTokens, completion_tokens: 0, images: 0 };
    const asked = unanswered('', 'internal', null);
    views.set(id, { ...asked, question_id: id, status: 'answered', error: null, answer, usage, links });
    return { question_id: id, status: 'queued', links };
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    client: new ApiClient(url),
    url,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const INDEX = {
  assets: 0,
  tombstones: 0,
  encoder: { image: 'none', text: 'none' },
  calibration: { fitted: false, thresholds: { words: 0, picture: 0, both: 0, keywords: 0 } },
};
const FOUND_NOTHING = {
  results: [],
  no_match: true,
  degraded: false,
  next_cursor: null,
  warnings: [],
  timings_ms: { encode: 1, index: 1, fuse: 1, total: 3 },
  encoder: { image: 'none', text: 'none' },
};
