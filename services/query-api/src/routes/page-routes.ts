import { readFile } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';

const SCRIPTS = [
  'page.js',
  'answer-feedback.js',
  'answer-notes.js',
  'answer-text.js',
  'answer-view.js',
  'asset-picture.js',
  'call.js',
  'event-stream.js',
  'filter-text.js',
  'follow-question.js',
  'ingestion-progress.js',
  'key.js',
  'picture-file.js',
  'result-card.js',
  'search-results.js',
  'source-card.js',
  'warning-sentence.js',
];
const FILES = [
  { url: '/', file: 'index.html', contentType: 'text/html; charset=utf-8' },
  { url: '/page/page.css', file: 'page.css', contentType: 'text/css; charset=utf-8' },
  { url: '/page/answer.css', file: 'answer.css', contentType: 'text/css; charset=utf-8' },
  { url: '/page/icon.svg', file: 'icon.svg', contentType: 'image/svg+xml' },
  ...SCRIPTS.map((file) => ({ url: `/page/${file}`, file, contentType: 'text/javascript; charset=utf-8' })),
];

/** The page to search and ask: a few files, read once, served from memory. */
export async function pageRoutes(app: FastifyInstance): Promise<void> {
  for (const { url, file, contentType } of FILES) {
    const bytes = await readFile(new URL(`../page/${file}`, import.meta.url));
    app.get(url, { config: { access: 'public' }, schema: { hide: true } }, async (_, reply) =>
      reply.header('content-type', contentType).header('cache-control', 'no-cache').send(bytes),
    );
  }
}
