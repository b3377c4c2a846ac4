import path from 'node:path';
import type { Logger } from 'pino';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { EncoderChild } from './encoder-child.ts';
import { HfTokenizer } from './hf-tokenizer.ts';
import { readTextPack, type Variant } from './pack-reader.ts';
import { proveDirectory, type ProofReport } from './prove-encoder.ts';

/** Loads a text encoder's pack on its own and proves it, as `openOnnxEncoder` does for a dual encoder. Errors: the pack's. */
export async function proveTextPack(options: {
  packDir: string;
  variant?: Variant | undefined;
  threads: number;
  logger: Logger;
}): Promise<{ variant: string; report: ProofReport }> {
  const tower = await readTextPack(options.packDir, options.variant);
  const tokenizer = new HfTokenizer(tower);
  const child = await EncoderChild.start(
    {
      graphs: [{ key: 'text', file: tower.graph.file, pooling: tower.pooling, padId: tower.padId }],
      input: { widthPx: 1, heightPx: 1 },
      normalisation: { rescaleFactor: 1, mean: [0, 0, 0], std: [1, 1, 1] },
      threads: options.threads,
      executionProviders: ['cpu'],
      cudaDevice: 0,
    },
    { startTimeoutMs: 120_000, batchTimeoutMs: 60_000 },
  );
  try {
    const report = await proveDirectory(
      { directory: path.resolve(options.packDir), variant: tower.graph.variant, graphs: tower.graph.sha256, isText: true },
      {
        decode: () => Promise.reject(new SightlineError('pack_invalid', 'A text encoder has no pictures.')),
        decodeExactly: () => Promise.reject(new SightlineError('pack_invalid', 'A text encoder has no pictures.')),
        tokenize: (_, text) => tokenizer.encode(text),
        encode: async (graph, input) => {
          if (graph !== 'text' || !('ids' in input)) return null;
          const facts = child.facts[0]!;
          const length = facts.fixedTokens ?? (tower.padding === 'max' || !facts.takesMask ? tower.maxTokens : input.ids.length);
          const rung = facts.fixedBatch ?? 1;
          const reply = await child.run(
            {
              kind: 'tokens',
              graph,
              length,
              count: 1,
              rung,
              ids: Int32Array.from(input.ids),
              lengths: Int32Array.of(input.ids.length),
            },
            'bulk',
          );
          return reply.bad.length > 0 ? null : reply.vectors;
        },
        logger: options.logger,
      },
    );
    return { variant: tower.graph.variant, report };
  } finally {
    await child.close();
  }
}
