import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { S3Place } from '../src/adapters/s3-object-store-client.ts';
import { mulberry32 } from '../src/runtime/mulberry32.ts';
import { givenKeys, lowerBound, stubPage, type StubKeys, type StubPageRequest } from './stub-s3-keys.ts';

/** What goes wrong; shares are of 1, each request drawn by a seeded number. May be changed while the stub runs. */
export interface StubS3Faults {
  /** Answers 503 SlowDown. */
  unavailableShare: number;
  /** Answers 403 AccessDenied to everything. */
  forbidAll: boolean;
  /** Bodies of objects that end half-way: the connection is closed. */
  truncatedShare: number;
  /** Bodies of objects that stop half-way and stay open. */
  stalledShare: number;
  /** Objects that changed between the listing and the fetch: another eTag than the listed one, for good. */
  changedShare: number;
  /** Before every answer. */
  latencyMs: number;
}

export interface StubS3 {
  endpoint: string;
  /** The bucket with the generated keys. */
  bucket: string;
  place: S3Place;
  faults: StubS3Faults;
  /** How many requests came, by what they asked for; a listing with a delimiter is `level`. */
  counts: Record<'list' | 'level' | 'get' | 'head' | 'put' | 'delete' | 'other', number>;
  /** The most listings that were under way at once. */
  maxListsAtOnce(): number;
  close(): Promise<void>;
}

export interface StubS3Options extends Pick<StubPageRequest, 'skipsStartedPrefix' | 'includesStartAfter'> {
  keys: StubKeys;
  seed?: number;
  faults?: Partial<StubS3Faults>;
  bodyOf?: (index: number) => Buffer;
  /** Keys in a page at most; S3's own limit is 1,000. */
  maxPageKeys?: number;
}

interface StubObject {
  eTag: string;
  body: Buffer;
}

interface StubBucket {
  keys: StubKeys;
  sizeAt(index: number): number;
  listedETag(index: number): string;
  objectOf(key: string): StubObject | null;
}

const MODIFIED_AT = new Date('2026-01-01T00:00:00Z');

/**
 * A stub, no store: it serves ListObjectsV2, HEAD and GET of generated keys and checks no signature. Buckets that are written to
 * are kept in memory. Used to list a million objects without storing them, and to answer wrongly on demand.
 */
export async function openStubS3(options: StubS3Options): Promise<StubS3> {
  const faults: StubS3Faults = {
    unavailableShare: 0,
    forbidAll: false,
    truncatedShare: 0,
    stalledShare: 0,
    changedShare: 0,
    latencyMs: 0,
    ...options.faults,
  };
  const counts: StubS3['counts'] = { list: 0, level: 0, get: 0, head: 0, put: 0, delete: 0, other: 0 };
  const random = mulberry32(options.seed ?? 1);
  const written = new Map<string, Map<string, StubObject>>();
  const generated = generatedBucket(options, faults);
  const bucketOf = (name: string): StubBucket | null => {
    if (name === 'stub') return generated;
    const objects = written.get(name);
    return objects ? writtenBucket(objects) : null;
  };
  const closed = new AbortController();
  let listsNow = 0;
  let mostLists = 0;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://stub');
    const [, bucketName = '', ...rest] = url.pathname.split('/');
    const key = decodeURIComponent(rest.join('/'));
    const method = request.method ?? '';
    const isList = method === 'GET' && key === '' && url.searchParams.get('list-type') === '2';
    counts[kindOf(method, key, isList, url)] += 1;
    const body = method === 'PUT' ? await bytesOf(request) : null;
    if (isList) mostLists = Math.max(mostLists, ++listsNow);
    try {
      if (faults.latencyMs > 0) await sleep(faults.latencyMs, undefined, { signal: closed.signal });
    } finally {
      if (isList) listsNow -= 1;
    }
    if (faults.forbidAll) return refuse(response, 403, 'AccessDenied');
    if (random() < faults.unavailableShare) return refuse(response, 503, 'SlowDown');
    if (body && key === '') {
      written.set(bucketName, written.get(bucketName) ?? new Map<string, StubObject>());
      response.end();
      return;
    }
    const bucket = bucketOf(bucketName);
    if (!bucket) return refuse(response, 404, 'NoSuchBucket');
    if (isList) return sendPage(response, bucket, url.searchParams, options);
    if (key === '') return void response.end();
    if (body) {
      written.get(bucketName)?.set(key, { eTag: `put-${counts.put}`, body });
      return void response.setHeader('etag', `"put-${counts.put}"`).end();
    }
    if (method === 'DELETE') {
      written.get(bucketName)?.delete(key);
      return void response.writeHead(204).end();
    }
    const object = bucket.objectOf(key);
    if (!object) return refuse(response, 404, 'NoSuchKey');
    sendObject(request, response, object, {
      isTruncated: random() < faults.truncatedShare,
      isStalled: random() < faults.stalledShare,
    });
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const endpoint = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
  return {
    endpoint,
    bucket: 'stub',
    place: {
      endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      systemBucket: 'stub-system',
      credentials: { accessKeyId: 'stub', secretAccessKey: 'stub' },
      maxAttempts: 5,
    },
    faults,
    counts,
    maxListsAtOnce: () => mostLists,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
        closed.abort();
      }),
  };
}

function kindOf(method: string, key: string, isList: boolean, url: URL): keyof StubS3['counts'] {
  if (isList) return url.searchParams.has('delimiter') ? 'level' : 'list';
  if (key === '') return 'other';
  const kinds: Record<string, keyof StubS3['counts']> = { GET: 'get', HEAD: 'head', PUT: 'put', DELETE: 'delete' };
  return kinds[method] ?? 'other';
}

function generatedBucket({ keys, bodyOf, seed = 1 }: StubS3Options, faults: StubS3Faults): StubBucket {
  const body = bodyOf ?? ((index: number) => Buffer.from(`object ${index}`.padEnd(100, '.')));
  return {
    keys,
    sizeAt: (index) => body(index).length,
    listedETag: (index) => `listed-${index}`,
    objectOf: (key) => {
      const index = lowerBound(keys, key);
      if (keys.keyAt(index) !== key || index >= keys.count) return null;
      const isChanged = mulberry32(seed + index * 7_919)() < faults.changedShare;
      return { eTag: isChanged ? `changed-${index}` : `listed-${index}`, body: body(index) };
    },
  };
}

function writtenBucket(objects: Map<string, StubObject>): StubBucket {
  const keys = givenKeys(objects.keys());
  const at = (index: number): StubObject => objects.get(keys.keyAt(index)) ?? { eTag: '', body: Buffer.alloc(0) };
  return {
    keys,
    sizeAt: (index) => at(index).body.length,
    listedETag: (index) => at(index).eTag,
    objectOf: (key) => objects.get(key) ?? null,
  };
}

function sendPage(
  response: ServerResponse,
  { keys, ...bucket }: StubBucket,
  query: URLSearchParams,
  options: StubS3Options,
): void {
  const token = query.get('continuation-token');
  const { told, next } = stubPage(keys, {
    ...options,
    prefix: query.get('prefix') ?? '',
    isDelimited: query.has('delimiter'),
    startAfter: query.get('start-after') ?? undefined,
    startAt: token === null ? undefined : Number(token.slice('stub-'.length)),
    maxKeys: Math.min(Number(query.get('max-keys') ?? 1_000), options.maxPageKeys ?? 1_000),
  });
  const parts = told.map((one) =>
    typeof one === 'string'
      ? `<CommonPrefixes><Prefix>${encoded(one)}</Prefix></CommonPrefixes>`
      : `<Contents><Key>${encoded(keys.keyAt(one))}</Key><LastModified>${MODIFIED_AT.toISOString()}</LastModified>` +
        `<ETag>&quot;${bucket.listedETag(one)}&quot;</ETag><Size>${bucket.sizeAt(one)}</Size></Contents>`,
  );
  const nextToken = next === null ? '' : `<NextContinuationToken>stub-${next}</NextContinuationToken>`;
  response
    .setHeader('content-type', 'application/xml')
    .end(
      `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><EncodingType>url</EncodingType>` +
        `<IsTruncated>${next !== null}</IsTruncated>${nextToken}${parts.join('')}</ListBucketResult>`,
    );
}

function sendObject(
  request: IncomingMessage,
  response: ServerResponse,
  { eTag, body }: StubObject,
  { isTruncated, isStalled }: { isTruncated: boolean; isStalled: boolean },
): void {
  const ifMatch = request.headers['if-match'];
  if (ifMatch !== undefined && ifMatch !== `"${eTag}"`) return refuse(response, 412, 'PreconditionFailed');
  const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const part = body.subarray(start);
  response.writeHead(start > 0 ? 206 : 200, {
    etag: `"${eTag}"`,
    'content-length': part.length,
    'last-modified': MODIFIED_AT.toUTCString(),
    ...(start > 0 ? { 'content-range': `bytes ${start}-${body.length - 1}/${body.length}` } : {}),
  });
  if (request.method === 'HEAD') return void response.end();
  if (!isTruncated && !isStalled) return void response.end(part);
  response.write(part.subarray(0, Math.floor(part.length / 2)), () => {
    if (isTruncated) response.destroy();
  });
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response
    .writeHead(status, { 'content-type': 'application/xml' })
    .end(`<Error><Code>${code}</Code><Message>stub</Message></Error>`);
}

/** As S3 does for `encoding-type=url`: blanks as `+`. */
function encoded(key: string): string {
  return encodeURIComponent(key).replaceAll('%2F', '/').replaceAll('%20', '+');
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}
