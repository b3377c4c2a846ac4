import { findPack } from '@sightline/shared/adapters/find-pack';
import type { ConfigOf } from '@sightline/shared/runtime/config';
import type { Closer } from '@sightline/shared/runtime/lifecycle';
import { ModelServerChild, type ModelServerPlace, type PackProfile } from './adapters/model-server-child.ts';
import { openOpenAIGenerator, type OpenAIGeneratorDeps } from './adapters/openai-generator.ts';
import type { Use } from './adapters/server-dialect.ts';
import { IN_FLIGHT, SERVER_PROFILE, type GENERATOR_SETTINGS } from './config.ts';
import type { Generator } from './core/generator.ts';

interface GeneratorDeps extends OpenAIGeneratorDeps {
  closer: Closer;
  /** Directories where a pack is looked for by name, in order. */
  packPlaces: string[];
}

interface Place extends Omit<ModelServerPlace, 'apiKey'> {
  apiKey: string | undefined;
  profile: Omit<PackProfile, 'logprobs'>;
  inFlight: number;
  structured: Use;
  logprobs: Use;
  /** Null: whatever all is fetched with. */
  fetch: typeof globalThis.fetch | null;
}

/**
 * The model server as the settings describe it; without VLM_BASE_URL one of this worker's own, in a process beside it, which serves the pack
 * VLM_PACK. What no setting says of the model is the pack's. Both go onto the closer. Errors: `pack_not_found`, `pack_invalid`,
 * `generator_unavailable`.
 */
export async function openGenerator(config: ConfigOf<typeof GENERATOR_SETTINGS>, deps: GeneratorDeps): Promise<Generator> {
  const { closer, logger } = deps;
  const { baseUrl, apiKey, profile, inFlight, structured, logprobs, fetch } = await placeOf(config, deps);
  const model = config.vlmModel ?? profile.model;
  const generator = openOpenAIGenerator(
    {
      baseUrl,
      apiKey,
      profile: {
        model,
        maxImages: config.vlmMaxImages ?? profile.maxImages,
        imageSidePx: config.vlmImageSidePx ?? profile.imageSidePx,
        boxFrame: config.vlmBoxFrame ?? profile.boxFrame,
        contextTokens: config.vlmContextTokens ?? profile.contextTokens,
        tokensPerImage: config.vlmImageTokens ?? profile.tokensPerImage,
      },
      structured,
      logprobs,
      sampling: {
        temperature: config.vlmTemperature,
        topP: config.vlmTopP,
        maxTokens: config.vlmMaxTokens,
        stop: config.vlmStop,
      },
      inFlight: config.vlmInFlight ?? inFlight,
      firstTokenTimeoutMs: config.vlmFirstTokenTimeoutMs,
      tokenTimeoutMs: config.vlmTokenTimeoutMs,
      timeoutMs: config.vlmTimeoutMs,
      metricsUrl: config.vlmMetricsUrl,
    },
    fetch ? { ...deps, fetch } : deps,
  );
  closer.push('generator', () => generator.close());
  logger.info({ baseUrl, model }, 'questions are answered by this model server');
  return generator;
}

async function placeOf(
  { vlmBaseUrl, vlmApiKey, vlmPack, vlmStructured, vlmLogprobs }: ConfigOf<typeof GENERATOR_SETTINGS>,
  { closer, logger, packPlaces }: GeneratorDeps,
): Promise<Place> {
  if (vlmBaseUrl !== undefined)
    return {
      baseUrl: vlmBaseUrl,
      apiKey: vlmApiKey,
      profile: SERVER_PROFILE,
      inFlight: IN_FLIGHT.server,
      structured: vlmStructured,
      logprobs: vlmLogprobs,
      fetch: null,
    };
  const server = await ModelServerChild.open({ packDirectory: await findPack(vlmPack, packPlaces), logger });
  closer.push('model server', () => server.close());
  const { logprobs, ...profile } = server.profile;
  return {
    ...server.place,
    profile,
    inFlight: IN_FLIGHT.own,
    structured: 'off',
    logprobs: vlmLogprobs === 'auto' && !logprobs ? 'off' : vlmLogprobs,
    fetch: server.fetch,
  };
}
