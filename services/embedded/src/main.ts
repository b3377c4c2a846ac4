import { fileURLToPath } from 'node:url';
import { runMain } from '@sightline/shared/runtime/run-main';
import { SETTINGS } from './config.ts';
import { startEmbedded } from './embedded.ts';

await runMain({ service: 'embedded', settings: SETTINGS, env: process.env }, async ({ config, logger, closer }) => {
  const packPlaces = [fileURLToPath(new URL('../../../models', import.meta.url))];
  const { url } = await startEmbedded(config, { logger, closer, packPlaces });
  logger.info({ url }, 'Sightline runs');
});
