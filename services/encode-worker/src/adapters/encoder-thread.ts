import { parentPort } from 'node:worker_threads';
import type { FromEncoder, LoadRequest, ToEncoder } from './encoder-protocol.ts';
import { OnnxGraph } from './onnx-graph.ts';

/** The encoder process's computing thread: one request at a time, each answered once. */
const port = parentPort!;
const graphs = new Map<string, OnnxGraph>();

port.on('message', (message: ToEncoder) => {
  void answer(message).then((reply) =>
    port.postMessage(reply, reply.type === 'done' ? [reply.vectors.buffer as ArrayBuffer] : []),
  );
});

async function answer(message: ToEncoder): Promise<FromEncoder> {
  if (message.type === 'load') return load(message.load).catch((error: unknown) => loadFailed(error, message.load));
  const started = performance.now();
  try {
    const { vectors, bad } = await graphs.get(message.input.graph)!.run(message.input);
    return {
      type: 'done',
      id: message.id,
      vectors,
      bad,
      computeMs: performance.now() - started,
      residentBytes: process.memoryUsage.rss(),
    };
  } catch (error) {
    return { type: 'failed', id: message.id, message: textOf(error) };
  }
}

async function load(request: LoadRequest): Promise<FromEncoder> {
  const facts = [];
  for (const graph of request.graphs) {
    const loaded = await OnnxGraph.load(graph, request);
    graphs.set(graph.key, loaded);
    facts.push(await loaded.facts(request.input.heightPx, request.input.widthPx));
  }
  return { type: 'loaded', facts };
}

/** The runtime says only in words whether it lacks the provider or dislikes the graph. */
function loadFailed(error: unknown, request: LoadRequest): FromEncoder {
  const message = textOf(error);
  const isProvider = request.executionProviders.some((name) => name !== 'cpu') && /provider|backend/i.test(message);
  return { type: 'load_failed', message, isProvider };
}

const textOf = (error: unknown) => (error instanceof Error ? error.message : String(error)).slice(0, 1000);
