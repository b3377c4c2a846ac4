import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DatabaseSync } from 'node:sqlite';
import { Webhook } from 'standardwebhooks';

/** One request that was verified. */
export interface Received {
  webhookId: string;
  body: string;
  headers: Record<string, string>;
  /** Of the receiver's secrets, those that a signature of the request is of. */
  verifiedBy: string[];
  /** Which request it is, from 1, since the file was made. */
  nth: number;
}

/** `hang`: never, until the receiver closes. */
export type Answer = { status: number; headers?: Record<string, string>; body?: string } | 'hang';

export interface ReceiverOptions {
  secrets: string[];
  /** A SQLite file that outlives the process; in memory without. */
  file?: string;
  port?: number;
  /** After it was stored; 204 without. */
  answer?: (received: Received) => Answer | Promise<Answer>;
  /** Of senders with another clock than the system's. */
  now?: () => number;
}

export interface WebhookReceiver {
  url: string;
  /** In the order they came, since this was opened. */
  received: Received[];
  /** Requests that no secret verifies; nothing of them is stored. */
  refused: number;
  secrets: string[];
  stored: () => StoredBody[];
  /** Breaks off every connection. */
  drop: () => void;
  close: () => Promise<void>;
}

/** What a receiver holds: one body an id, however often it came; `changed` counts those that came with another body. */
export interface StoredBody {
  webhookId: string;
  body: string;
  times: number;
  changed: number;
}

const TOLERANCE_MS = 5 * 60_000;

/**
 * A receiver as a user would build one: verifies with the standard's own library, stores by webhook-id before it answers, on disk when
 * it has a file. A request that was stored once more changes nothing but a count.
 */
export async function openWebhookReceiver(options: ReceiverOptions): Promise<WebhookReceiver> {
  const db = openBodies(options.file ?? ':memory:');
  const answer: NonNullable<ReceiverOptions['answer']> = options.answer ?? (() => ({ status: 204 }));
  const receiver = { received: [] as Received[], refused: 0, secrets: options.secrets };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await textOf(request);
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    const verifiedBy = receiver.secrets.filter((secret) => isVerified(secret, body, headers, options.now));
    if (verifiedBy.length === 0) {
      receiver.refused += 1;
      response.writeHead(400).end();
      return;
    }
    const webhookId = headers['webhook-id'] ?? '';
    const got: Received = { webhookId, body, headers, verifiedBy, nth: store(db, webhookId, body) };
    receiver.received.push(got);
    const answered = await answer(got);
    if (answered === 'hang') return;
    response.writeHead(answered.status, answered.headers ?? {}).end(answered.body ?? '');
  };
  const server = createServer((request, response) => {
    // A sender that hung up.
    handle(request, response).catch(() => response.destroy());
  });
  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return Object.assign(receiver, {
    url: `http://127.0.0.1:${port}/hooks`,
    stored: () => bodiesIn(db),
    drop: () => server.closeAllConnections(),
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
      db.close();
    },
  });
}

/** What a receiver's file holds, also while it runs or after it was killed. */
export function readStoredBodies(file: string): StoredBody[] {
  const db = openBodies(file);
  try {
    return bodiesIn(db);
  } finally {
    db.close();
  }
}

function openBodies(file: string): DatabaseSync {
  const db = new DatabaseSync(file, { timeout: 5_000 });
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS bodies (webhook_id TEXT PRIMARY KEY, body TEXT NOT NULL, times INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT`);
  return db;
}

/** Answers how many requests were stored so far. */
function store(db: DatabaseSync, webhookId: string, body: string): number {
  db.prepare(
    `INSERT INTO bodies VALUES (?, ?, 1, 0)
     ON CONFLICT (webhook_id) DO UPDATE SET times = times + 1, changed = changed + (body <> excluded.body)`,
  ).run(webhookId, body);
  return Number(db.prepare('SELECT sum(times) AS total FROM bodies').get()?.['total']);
}

function bodiesIn(db: DatabaseSync): StoredBody[] {
  const rows = db.prepare('SELECT * FROM bodies ORDER BY webhook_id').all();
  return rows.map((row) => ({
    webhookId: String(row['webhook_id']),
    body: String(row['body']),
    times: Number(row['times']),
    changed: Number(row['changed']),
  }));
}

function isVerified(secret: string, body: string, headers: Record<string, string>, now?: () => number): boolean {
  const webhook = new Webhook(secret);
  if (!now) {
    try {
      webhook.verify(body, headers);
      return true;
    } catch {
      return false;
    }
  }
  // The library's `verify` knows the system's clock alone.
  const at = Number(headers['webhook-timestamp']) * 1_000;
  const signature = webhook.sign(headers['webhook-id'] ?? '', new Date(at), body);
  return Math.abs(now() - at) <= TOLERANCE_MS && (headers['webhook-signature'] ?? '').split(' ').includes(signature);
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}
