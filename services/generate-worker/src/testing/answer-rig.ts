import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LocalObjectStore } from '@sightline/shared/adapters/local-object-store';
import { SqliteLedger } from '@sightline/shared/adapters/sqlite-ledger';
import { openSqliteVectorIndex } from '@sightline/shared/adapters/sqlite-vector-index';
import { DEFAULT_TENANT, newId, pictureAssetId } from '@sightline/shared/contracts/ids';
import { JOBS } from '@sightline/shared/contracts/jobs';
import type { AskedQuestion } from '@sightline/shared/contracts/questions';
import { pointRecord, type Attributes } from '@sightline/shared/contracts/records';
import type { Question } from '@sightline/shared/ports/question-ledger';
import { analyse } from '@sightline/shared/retrieval/analyser';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { Closer } from '@sightline/shared/runtime/lifecycle';
import { sleep } from '@sightline/shared/runtime/sleep';
import { SearchVersions } from '@sightline/shared/search/search-versions';
import { newAsked } from '@sightline/shared/testing/question-builder';
import { answerEncodeQuery, encodeColour, encodeText, toySpec } from '@sightline/shared/testing/toy-encoder';
import { answeredMessage, failedMessage, staleMessage } from '@sightline/shared/webhooks/outbox-messages';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import sharp from 'sharp';
import { openOpenAIGenerator, type OpenAIGeneratorOptions } from '../adapters/openai-generator.ts';
import { readPromptFiles } from '../adapters/prompt-files.ts';
import { SharpLetterbox } from '../adapters/sharp-letterbox.ts';
import { openAnswerMetrics } from '../answer-metrics.ts';
import type { AnswerDeps } from '../core/answer-deps.ts';
import { answerQuestion } from '../core/answer-question.ts';
import { Slots } from '../core/slots.ts';
import type { WatchDeps } from '../core/watch-answers.ts';
import { openScriptedModelServer, type ScriptedModelServer, type ScriptedModelServerOptions } from './scripted-model-server.ts';

const SIDE_PX = 200;

/** Of a question, what a test says of it. */
export type Asking = Partial<AskedQuestion>;

export interface AnswerRig {
  deps: AnswerDeps;
  watch: WatchDeps;
  server: ScriptedModelServer;
  ledger: SqliteLedger;
  store: LocalObjectStore;
  bucket: string;
  registry: Registry;
  /** Deliveries that were handed out. */
  told: { tenant: string; deliveryIds: string[] }[];
  /** A picture of one colour with a record on it; answers its asset id. */
  add(item: {
    itemId: string;
    title: string;
    text: string;
    colour: [number, number, number];
    tenant?: string;
    sizePx?: [number, number];
    /** Bytes of its picture, instead of one of a colour. */
    picture?: Buffer;
    attributes?: Attributes;
  }): Promise<string>;
  remove(assetId: string, tenant?: string): Promise<void>;
  ask(asking: Asking, tenant?: string): Promise<string>;
  /** Works it as a job does. */
  work(questionId: string, options?: { tenant?: string; signal?: AbortSignal; deps?: Partial<AnswerDeps> }): Promise<void>;
  question(questionId: string, tenant?: string): Promise<Question>;
  events(questionId: string, tenant?: string): Promise<string[]>;
  close(): Promise<void>;
}

/** Answering questions over the real SQLite index and ledger, a real folder and the real adapter; the encoder is a toy, the model server scripted. */
export async function openAnswerRig(
  server: ScriptedModelServerOptions = {},
  generator: Omit<Partial<OpenAIGeneratorOptions>, 'profile'> & { profile?: Partial<OpenAIGeneratorOptions['profile']> } = {},
): Promise<AnswerRig> {
  const logger = pino({ level: 'silent' });
  const closer = new Closer(logger);
  const folder = await mkdtemp(join(tmpdir(), 'sightline-answers-'));
  closer.push('folder', () => rm(folder, { recursive: true, force: true }));
  const bucket = join(folder, 'source');
  const store = new LocalObjectStore({ dataDir: join(folder, 'data') });
  const index = await openSqliteVectorIndex({ file: join(folder, 'index.db'), spec: toySpec });
  closer.push('index', () => index.close());
  const ledger = await SqliteLedger.open({ file: join(folder, 'ledger.db') });
  closer.push('ledger', () => ledger.close());
  const scripted = await openScriptedModelServer(server);
  closer.push('model server', () => scripted.close());
  const registry = new Registry();
  const { profile, ...options } = generator;
  const opened = openOpenAIGenerator(
    {
      baseUrl: scripted.baseUrl,
      structured: 'off',
      logprobs: 'off',
      sampling: { temperature: 0.3, topP: 0.85, maxTokens: 512, stop: ['<|im_end|>'] },
      inFlight: 8,
      firstTokenTimeoutMs: 20_000,
      tokenTimeoutMs: 20_000,
      timeoutMs: 60_000,
      ...options,
      profile: {
        model: null,
        maxImages: 3,
        imageSidePx: SIDE_PX,
        boxFrame: 'thousand',
        contextTokens: 8_192,
        tokensPerImage: 600,
        ...profile,
      },
    },
    { logger, registry },
  );
  closer.push('generator', () => opened.close());
  const refuse = (): never => {
    throw new SightlineError('queue_unavailable');
  };
  const versions = new SearchVersions({
    index,
    ledger,
    store,
    // Queries are encoded in this process.
    queue: {
      request: async (_, data) => answerEncodeQuery(JOBS['encode-query'].schema.parse(data), store),
      add: refuse,
      work: refuse,
      schedule: refuse,
      unschedule: refuse,
      stats: refuse,
      ping: async () => {},
      close: async () => {},
    },
    fromPack: null,
    encodeTimeoutMs: 5_000,
    maxQueryPictureBytes: 10_000_000,
    keywordScoresTold: true,
    now: Date.now,
    warn: () => {},
  });
  const told: AnswerRig['told'] = [];
  const tell = (tenant: string, deliveryIds: string[]): void => void told.push({ tenant, deliveryIds });
  const deps: AnswerDeps = {
    ledger,
    store,
    version: () => versions.current(),
    generator: opened,
    letterbox: new SharpLetterbox(SIDE_PX),
    pictureSlots: new Slots(() => 2),
    suspectSlots: new Slots(() => 1),
    ...(await readPromptFiles()),
    messages: { answered: answeredMessage, failed: failedMessage },
    onFinished: tell,
    metrics: openAnswerMetrics(registry, ledger),
    warn: () => {},
    newToken: newId,
    now: Date.now,
    nowMs: () => performance.now(),
    sleep,
    claimMs: 30_000,
    renewEveryMs: 50,
    maxPictureBytes: 10_000_000,
    answerTokens: 512,
    giveUpAfterMs: 3_600_000,
    mostDeaths: 6,
  };
  let version = 1;

  return {
    deps,
    watch: { ledger, index: () => versions.current().index, message: staleMessage, onMarked: tell, now: Date.now },
    server: scripted,
    ledger,
    store,
    bucket,
    registry,
    told,
    async add({
      itemId,
      title,
      text,
      colour,
      tenant = DEFAULT_TENANT,
      sizePx: [widthPx, heightPx] = [120, 90],
      picture,
      attributes = { kind: 'part' },
    }) {
      const [r = 0, g = 0, b = 0] = colour.map((value) => Math.round(value * 255));
      const bytes =
        picture ??
        (await sharp({ create: { width: widthPx, height: heightPx, channels: 3, background: { r, g, b } } })
          .png()
          .toBuffer());
      const key = `${itemId}.png`;
      await store.put({ bucket, key }, bytes, { contentType: 'image/png' });
      const eTag = (await store.head({ bucket, key }))?.eTag ?? '';
      const assetId = pictureAssetId(tenant, bucket, key);
      const common = { assetId, tenant, indexedAt: Date.now() };
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      await index.writePictures([
        {
          ...common,
          object: { bucket, key, eTag },
          sha256,
          sizeBytes: bytes.length,
          widthPx,
          heightPx,
          vector: encodeColour(colour),
          imageVersion: version++,
        },
      ]);
      await index.writeRecords([
        {
          ...common,
          kind: 'picture',
          object: { bucket, key },
          passageNo: 0,
          records: [pointRecord.parse({ itemId, title, text, attributes })],
          keywords: analyse(`${itemId} ${title}\n${text}`),
          vector: encodeText(`${title}\n${text}`),
          recordVersion: version++,
        },
      ]);
      return assetId;
    },
    async remove(assetId, tenant = DEFAULT_TENANT) {
      const object = (await index.get(tenant, [assetId])).get(assetId)?.object ?? null;
      await index.delete([{ assetId, tenant, version: version++, reason: 'gone', object, at: Date.now() }]);
    },
    async ask(asking, tenant = DEFAULT_TENANT) {
      const questionId = newId();
      const asked = newAsked({ question: '', k: 3, ...asking });
      await ledger.createQuestion({ questionId, tenant, traceId: newId(), asked, createdAt: Date.now() }, { maxBacklog: 1_000 });
      return questionId;
    },
    work: (questionId, { tenant = DEFAULT_TENANT, signal = new AbortController().signal, deps: other = {} } = {}) =>
      answerQuestion({ ...deps, ...other }, { tenant, questionId, traceId: 'trace' }, signal),
    async question(questionId, tenant = DEFAULT_TENANT) {
      const question = await ledger.getQuestion(tenant, questionId);
      if (!question) throw new Error('There is no such question.');
      return question;
    },
    events: async (questionId, tenant = DEFAULT_TENANT) =>
      (await ledger.questionEvents(tenant, questionId, { after: 0, limit: 1_000 })).map(({ data }) => data.type),
    close: () => closer.closeAll(5_000),
  };
}
