import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { DEFAULT_DECODE_LIMITS } from '@sightline/shared/adapters/sharp-picture-guard';
import type { Lane } from '@sightline/shared/contracts/jobs';
import { calibration, type Calibration } from '@sightline/shared/retrieval/relevance';
import type { ConfigOf } from '@sightline/shared/runtime/config';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { openOnnxEncoder } from './adapters/onnx-encoder.ts';
import { findPack } from '@sightline/shared/adapters/find-pack';
import type { ENCODER_SETTINGS } from './config.ts';
import { ownedCores } from '@sightline/shared/runtime/owned-cores';
import type { Encoder } from './core/encoder.ts';
import { openBatchMetrics } from './batch-metrics.ts';

export interface OpenEncoderConfig extends ConfigOf<typeof ENCODER_SETTINGS> {
  /** Where packs are looked for by name, in order. */
  packPlaces: string[];
  /** What it is for; all lanes when left out. */
  lanes?: Lane[];
}

/** A batch's time, where a search may wait behind it and where none does. */
const MAX_BATCH_MS = { withSearches: 250, without: 2_000 };

/** The encoder as every `main.ts` opens it, and the calibration that the pack may bring. Errors: those of the pack. */
export async function openEncoder(
  config: OpenEncoderConfig,
  deps: { logger: Logger; registry: Registry },
): Promise<{ encoder: Encoder; calibration: Calibration | null }> {
  const packDir = await findPack(config.encoderPack, config.packPlaces);
  const servesSearches = config.lanes?.includes('interactive') ?? true;
  const encoder = await openOnnxEncoder({
    packDir,
    packPlaces: config.packPlaces,
    threads: config.encoderThreads || ownedCores(),
    variant: config.encoderVariant,
    executionProviders: config.executionProviders,
    cudaDevice: config.cudaDevice,
    maxBatchMs: config.maxBatchMs ?? (servesSearches ? MAX_BATCH_MS.withSearches : MAX_BATCH_MS.without),
    batchTimeoutMs: config.encoderTimeoutMs,
    recycleGrowthBytes: config.encoderRecycleBytes,
    limits: { ...DEFAULT_DECODE_LIMITS, maxPictureBytes: config.maxPictureBytes, maxPicturePixels: config.maxPicturePixels },
    logger: deps.logger,
    observe: openBatchMetrics(deps.registry),
  });
  try {
    return { encoder, calibration: await readCalibration(packDir) };
  } catch (error) {
    await encoder.close();
    throw error;
  }
}

/** `calibration.json` of a pack, fitted on the sample catalogue. Error: `pack_invalid`. */
async function readCalibration(packDir: string): Promise<Calibration | null> {
  const text = await readFile(join(packDir, 'calibration.json'), 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    return calibration.parse(JSON.parse(text));
  } catch (error) {
    throw new SightlineError('pack_invalid', `calibration.json of ${packDir} is not a calibration.`, { cause: error });
  }
}
