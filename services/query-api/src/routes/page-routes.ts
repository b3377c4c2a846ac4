import { readFile } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';

const SCRIPTS = [
  'page.js',
  'asset-picture.js',
  'call.js',
  'filter-text.js',
  'ingestion-progress.js',
  'key.js',
  'picture-file.js',
  'result-card.js',
];
const FILES = [
  { url: '/', file: 'index.html', contentType: 'text/html; charset=utf-8' },
  { url: '/page/page.css', file: 'page.css', contentType: 'text/css; charset=utf-8' },
  { url: '/page/icon.svg', file: 'icon.svg', contentType: 'image/svg+xml' },
  ...SCRIPTS.map((file) => ({ url: `/page/${file}`, file, contentType: 'text/javascript; charset=utf-8' })),
];

/** The search page: a few files, read once, served from memory. */
export async function pageRoutes(app: FastifyInstance): Promise<void> {
  for (const { url, file, contentType } of FILES) {
    const bytes = await readFile(new URL(`../page/${file}`, import.meta.url));
    app.get(url, { config: { access: 'public' }, schema: { hide: true } }, async (_, reply) =>
      reply.header('content-type', contentType).header('cache-control', 'no-cache').send(bytes),
    );
  }
}
