import { DEFAULT_DECODE_LIMITS } from '@sightline/shared/adapters/sharp-picture-guard';
import { STORM_SETTINGS } from '@sightline/shared/ingestion/storm-settings';
import { z } from 'zod';
import { ENGINE_SETTINGS } from '@sightline/shared/runtime/engine-settings';
import { SHARED_SETTINGS, healthPort, setting, wholeNumber } from '@sightline/shared/runtime/config';
import { variantNames } from './adapters/pack-reader.ts';

const lane = z.enum(['interactive', 'event', 'bulk']);

/** How the encoder runs, wherever it does: in a worker of its own or in the embedded stack. */
export const ENCODER_SETTINGS = {
  encoderPack: SHARED_SETTINGS.encoderPack,
  encoderThreads: SHARED_SETTINGS.encoderThreads,
  encoderVariant: setting(
    'ENCODER_VARIANT',
    z.enum(variantNames, `expected one of ${variantNames.join(', ')}`).optional(),
    "Which of the pack's graphs is used; by default the first it has of fp32, fp16, quantized and so on. fp16 is the choice for a GPU.",
  ),
  executionProviders: setting(
    'EXECUTION_PROVIDERS',
    z
      .string()
      .default('cpu')
      .transform((list) => list.split(',').map((name) => name.trim()))
      .pipe(z.array(z.enum(['cuda', 'cpu'], 'expected cuda, cpu, or both')).min(1)),
    'ONNX Runtime execution providers in order of preference: `cuda`, `cuda,cpu` (the CPU where CUDA cannot be had), or `cpu`.',
  ),
  cudaDevice: setting('CUDA_DEVICE', wholeNumber(0, 63).default(0), 'Which GPU, where EXECUTION_PROVIDERS names cuda.'),
  maxBatchMs: setting(
    'MAX_BATCH_MS',
    wholeNumber(10, 60_000).optional(),
    'How long one batch may compute: what a search waits for at most. Batch sizes follow from it. By default 250, and 2000 in a worker that does not serve the interactive lane.',
  ),
  encoderTimeoutMs: setting(
    'ENCODER_TIMEOUT_MS',
    wholeNumber(1_000, 3_600_000).default(60_000),
    'An encoder process that is silent over a batch for so long is ended; the batch is halved and tried again.',
  ),
  encoderRecycleBytes: setting(
    'ENCODER_RECYCLE_BYTES',
    wholeNumber(64 * 1024 ** 2, 64 * 1024 ** 3).default(1024 ** 3),
    'An encoder process that has grown by this much, what new batch sizes took not counted, is replaced between two batches.',
  ),
  maxPictureBytes: setting(
    'MAX_PICTURE_BYTES',
    wholeNumber(1, 4 * 1024 ** 3).default(DEFAULT_DECODE_LIMITS.maxPictureBytes),
    'A larger file fails with picture_too_many_bytes.',
  ),
  maxPicturePixels: setting(
    'MAX_PICTURE_PIXELS',
    wholeNumber(1, 1_000_000_000).default(DEFAULT_DECODE_LIMITS.maxPicturePixels),
    'A larger picture fails with picture_too_many_pixels; also the pixels of all pictures decoded at a time.',
  ),
};

export const SETTINGS = {
  ...ENCODER_SETTINGS,
  redisUrl: SHARED_SETTINGS.redisUrl,
  ...ENGINE_SETTINGS,
  packDir: SHARED_SETTINGS.packDir,
  lanes: setting(
    'LANES',
    z
      .string()
      .default('interactive,event,bulk')
      .transform((list) => list.split(',').map((name) => name.trim()))
      .pipe(z.array(lane, 'expected lanes out of interactive, event, bulk').min(1)),
    'Lanes that this worker serves, comma-separated. In production interactive has workers of its own, never behind bulk batches.',
  ),
  concurrency: setting('ENCODE_CONCURRENCY', wholeNumber(1, 64).default(3), 'Chunks that are worked at once.'),
  decodeConcurrency: setting(
    'DECODE_CONCURRENCY',
    wholeNumber(0, 256).default(0),
    'Pictures that are decoded at once; 0 means one per core, and one that keeps them busy between two.',
  ),
  ...STORM_SETTINGS,
  maxBatch: setting('MAX_BATCH', wholeNumber(1, 1024).default(32), 'Pictures in one call of the encoder.'),
  healthHost: SHARED_SETTINGS.healthHost,
  healthPort: healthPort(8082),
};
