/**
 * `npm run bench:model [-- --pack <directory>] [--tokens 128] [--answers 12] [--threads 2]`: the local model server. For prompts of 0, 1 and 2 pictures: the time to
 * the first token and the tokens a second after it, over the protocol, against the bare loop of the same pack in the same run (the floor); and how
 * long the protocol's event loop is held up while answers are computed. Threads by default as the server takes them: the cores that this process owns.
 */
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { splitPictures, type ChatRequest } from '@sightline/generate-worker/model-server/chat-request';
import { Llava } from '@sightline/generate-worker/model-server/llava';
import { ModelEngine } from '@sightline/generate-worker/model-server/model-engine';
import { readModelPack } from '@sightline/generate-worker/model-server/model-pack';
import { startModelServer } from '@sightline/generate-worker/model-server/model-server';
import { PictureInput } from '@sightline/generate-worker/model-server/picture-input';
import { findPack } from '@sightline/shared/adapters/find-pack';
import { ownedCores } from '@sightline/shared/runtime/owned-cores';
import sharp from 'sharp';

const { values: options } = parseArgs({
  options: {
    pack: { type: 'string', default: 'starter-vlm' },
    tokens: { type: 'string', default: '128' },
    answers: { type: 'string', default: '12' },
    threads: { type: 'string', default: String(ownedCores()) },
  },
});
const tokens = Number(options.tokens);
const answers = Number(options.answers);
const threads = Number(options.threads);
const KEY = 'bench';
const TEXT =
  'Source [1]\nKestrel R26 CPU cooler, for sockets AM4 and AM5, 54 x 90 mm.\nQuestion:\nDo its mounting holes fit socket AM5?';

interface Measured {
  firstMs: number;
  perSecond: number;
}

const pack = await readModelPack(await findPack(options.pack, [fileURLToPath(new URL('../models', import.meta.url))]));
const side = pack.plan.input.widthPx;
const drawing = await sharp(join(import.meta.dirname, '../sample/images/drawings/drawing-cooler-00.png'))
  .resize(side, side, { fit: 'contain', background: '#7f7f7f' })
  .png()
  .toBuffer();
const url = `data:image/png;base64,${drawing.toString('base64')}`;
const messagesWith = (pictures: number): ChatRequest['messages'] => [
  {
    role: 'user',
    content: [
      ...Array.from({ length: pictures }, () => ({ type: 'image_url' as const, image_url: { url } })),
      { type: 'text' as const, text: TEXT },
    ],
  },
];

/** First token and speed from the times at which tokens came. */
function measuredFrom(startedAt: number, times: number[]): Measured {
  const [first = startedAt] = times;
  return { firstMs: first - startedAt, perSecond: ((times.length - 1) * 1_000) / ((times.at(-1) ?? first) - first) };
}

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
const medians = (all: Measured[]): Measured => ({
  firstMs: median(all.map(({ firstMs }) => firstMs)),
  perSecond: median(all.map(({ perSecond }) => perSecond)),
});

async function bare(llava: Llava, pictures: number): Promise<Measured> {
  const { messages, urls } = splitPictures({ messages: messagesWith(pictures) });
  const startedAt = performance.now();
  const times: number[] = [];
  await llava.answer(
    {
      model: null,
      messages,
      pictures: await new PictureInput(pack).read(urls),
      sampling: { temperature: 0, topP: 1, seed: 0 },
      maxTokens: tokens,
      stop: [],
      topLogprobs: null,
    },
    { isCancelled: () => false, onToken: () => times.push(performance.now()) },
  );
  return measuredFrom(startedAt, times);
}

async function served(port: number, pictures: number): Promise<Measured> {
  const startedAt = performance.now();
  const response = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${KEY}` },
    body: JSON.stringify({ messages: messagesWith(pictures), temperature: 0, max_tokens: tokens, stream: true, logprobs: true }),
  });
  const times: number[] = [];
  // With log-probabilities each token is a piece of its own, also one that is no whole character.
  for await (const chunk of response.body!) {
    const pieces = Buffer.from(chunk).toString('latin1').split('"logprobs"').length - 1;
    for (let n = 0; n < pieces; n++) times.push(performance.now());
  }
  return measuredFrom(startedAt, times);
}

const engine = await ModelEngine.open(pack, { threads });
const server = await startModelServer({ port: 0, apiKey: KEY }, { pack, engine });
const llava = await Llava.open(pack, threads);
const delays: { p50: number; p99: number; most: number }[] = [];
let cpuMs = 0;
const [over, floor] = [new Map<number, Measured[]>(), new Map<number, Measured[]>()];
const counts = [0, 1, 2].filter((count) => count <= pack.maxImages);
for (const count of counts) {
  await served(server.port, count);
  await bare(llava, count);
}
// One after the other, so that what else the machine does hits both. The bare loop computes in this thread, whose delay is not looked at then.
for (let n = 0; n < answers; n++) {
  for (const count of counts) {
    const monitor = monitorEventLoopDelay({ resolution: 1 });
    const cpu = process.cpuUsage();
    monitor.enable();
    const answer = await served(server.port, count);
    monitor.disable();
    const { user, system } = process.cpuUsage(cpu);
    cpuMs += (user + system) / 1_000;
    delays.push({ p50: monitor.percentile(50), p99: monitor.percentile(99), most: monitor.max });
    over.set(count, [...(over.get(count) ?? []), answer]);
    floor.set(count, [...(floor.get(count) ?? []), await bare(llava, count)]);
  }
}
await server.close();
await engine.close();

console.log(`${pack.name}: medians of ${answers} answers of up to ${tokens} tokens, ${threads} threads`);
for (const count of counts) {
  const [a, b] = [medians(over.get(count) ?? []), medians(floor.get(count) ?? [])];
  const line = ({ firstMs, perSecond }: Measured) =>
    `${firstMs.toFixed(0)} ms to the first token, ${perSecond.toFixed(0)} tokens/s`;
  console.log(
    `${count} pictures: ${line(a)}; bare loop ${line(b)}; ${(a.firstMs / b.firstMs).toFixed(2)} of its time, ${(a.perSecond / b.perSecond).toFixed(2)} of its speed`,
  );
}
const ms = (nanoseconds: number): string => (nanoseconds / 1e6).toFixed(1);
const [p50, p99] = [median(delays.map((one) => one.p50)), median(delays.map((one) => one.p99))];
console.log(
  `the protocol's event loop, looked at every ms while answering: p50 ${ms(p50)}, p99 ${ms(p99)} (medians of the answers), most ${ms(Math.max(...delays.map(({ most }) => most)))} ms`,
);
console.log(`CPU time of an answer, prompt and all: ${(cpuMs / (answers * counts.length)).toFixed(0)} ms`);
console.log(`memory of this process, with the pack loaded twice: ${Math.round(process.memoryUsage.rss() / 1e6)} MB`);
