import type { ConfigOf } from '@sightline/shared/runtime/config';
import type { Closer } from '@sightline/shared/runtime/lifecycle';
import { ModelServerChild, type ModelServerPlace } from './adapters/model-server-child.ts';
import { openOpenAIGenerator, type OpenAIGeneratorDeps } from './adapters/openai-generator.ts';
import type { GENERATOR_SETTINGS } from './config.ts';
import type { Generator } from './core/generator.ts';

/** The model server as the settings describe it; without VLM_BASE_URL one of this worker's own, in a process beside it. Both go onto the closer. */
export async function openGenerator(
  config: ConfigOf<typeof GENERATOR_SETTINGS>,
  deps: OpenAIGeneratorDeps & { closer: Closer },
): Promise<Generator> {
  const { closer, logger } = deps;
  const { baseUrl, apiKey } = await placeOf(config, deps);
  const generator = openOpenAIGenerator(
    {
      baseUrl,
      apiKey,
      profile: {
        model: config.vlmModel ?? null,
        maxImages: config.vlmMaxImages,
        imageSidePx: config.vlmImageSidePx,
        boxFrame: config.vlmBoxFrame,
        contextTokens: config.vlmContextTokens,
        tokensPerImage: config.vlmImageTokens,
      },
      structured: config.vlmStructured,
      logprobs: config.vlmLogprobs,
      sampling: {
        temperature: config.vlmTemperature,
        topP: config.vlmTopP,
        maxTokens: config.vlmMaxTokens,
        stop: config.vlmStop,
      },
      inFlight: config.vlmInFlight,
      firstTokenTimeoutMs: config.vlmFirstTokenTimeoutMs,
      tokenTimeoutMs: config.vlmTokenTimeoutMs,
      timeoutMs: config.vlmTimeoutMs,
      metricsUrl: config.vlmMetricsUrl,
    },
    deps,
  );
  closer.push('generator', () => generator.close());
  logger.info({ baseUrl, model: config.vlmModel ?? null }, 'questions are answered by this model server');
  return generator;
}

async function placeOf(
  { vlmBaseUrl, vlmApiKey }: ConfigOf<typeof GENERATOR_SETTINGS>,
  { closer, logger }: OpenAIGeneratorDeps & { closer: Closer },
): Promise<Omit<ModelServerPlace, 'apiKey'> & { apiKey: string | undefined }> {
  if (vlmBaseUrl !== undefined) return { baseUrl: vlmBaseUrl, apiKey: vlmApiKey };
  const server = await ModelServerChild.open({ logger });
  logger.warn('no VLM_BASE_URL: the interim generator answers, which quotes and understands nothing');
  closer.push('model server', () => server.close());
  return server.place;
}
