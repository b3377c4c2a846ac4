import { parentPort } from 'node:worker_threads';
import type { FromEncoder, LoadRequest, ToEncoder } from './encoder-protocol.ts';
import { isDeviceLost, isOutOfMemory, isProviderFault } from './onnx-faults.ts';
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
    const text = textOf(error);
    // What a GPU computes after such a fault is of no use: the process ends, and the supervisor starts another.
    if (isDeviceLost(text)) throw error;
    return { type: 'failed', id: message.id, message: text, isOutOfMemory: isOutOfMemory(text) };
  }
}

/** A provider that cannot be had is passed over only for one that the configuration names after it. */
async function load(request: LoadRequest): Promise<FromEncoder> {
  let passedOver: string | null = null;
  for (let providers = request.executionProviders; ; providers = providers.slice(1)) {
    try {
      return await loadOn({ ...request, executionProviders: providers }, passedOver);
    } catch (error) {
      const isLast = providers.length < 2 || !isProviderMissing(error, providers);
      if (isLast) throw error;
      passedOver = textOf(error);
      for (const graph of graphs.values()) await graph.release();
      graphs.clear();
    }
  }
}

async function loadOn(request: LoadRequest, passedOver: string | null): Promise<FromEncoder> {
  const facts = [];
  for (const graph of request.graphs) {
    const loaded = await OnnxGraph.load(graph, request);
    graphs.set(graph.key, loaded);
    facts.push(await loaded.facts(request.input.heightPx, request.input.widthPx));
  }
  return { type: 'loaded', facts, providers: request.executionProviders, passedOver };
}

function loadFailed(error: unknown, request: LoadRequest): FromEncoder {
  return { type: 'load_failed', message: textOf(error), isProvider: isProviderMissing(error, request.executionProviders) };
}

/** The runtime says only in words whether it lacks the provider or dislikes the graph. */
const isProviderMissing = (error: unknown, providers: string[]): boolean =>
  providers.some((name) => name !== 'cpu') && isProviderFault(textOf(error));

const textOf = (error: unknown) => (error instanceof Error ? error.message : String(error)).slice(0, 1000);
