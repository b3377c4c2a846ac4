/** `npm run up`: the embedded stack, without the sample. PORT, DATA_DIR and ENCODER_PACK as in docs/configuration.md. */
import { fileURLToPath } from 'node:url';
import { SETTINGS } from '@sightline/embedded/config';
import { startEmbedded } from '@sightline/embedded/embedded';
import { openLogger } from '@sightline/shared/runtime/logger';
import { dataFiles } from '@sightline/shared/runtime/open-engines';
import { runMain, type MainOptions } from '@sightline/shared/runtime/run-main';
import { openLogFile } from './log-file.ts';

export const packPlaces = [fileURLToPath(new URL('../models', import.meta.url))];

/** For commands that people watch: the terminal says what matters, the log lies beside the data. */
export function stackMain(service: string): MainOptions<typeof SETTINGS> {
  return {
    service,
    settings: SETTINGS,
    env: process.env,
    openLogger: ({ dataDir }, level) => openLogger({ service, level }, openLogFile(dataDir)),
    onFatal: (error) => console.error(`\n${error.message}`),
    onStopping: () => console.log('\nStopping ...'),
  };
}

if (import.meta.main) {
  const startedAt = performance.now();
  await runMain(stackMain('up'), async ({ config, logger, closer }) => {
    console.log('Starting Sightline ...');
    const { url } = await startEmbedded(config, { logger, closer, packPlaces });
    const files = dataFiles(config.dataDir);
    console.log(`Sightline is at ${url} (after ${((performance.now() - startedAt) / 1000).toFixed(1)} s)`);
    console.log(`  search page   ${url}/`);
    console.log(`  interface     ${url}/openapi.json`);
    console.log(`  encoder       ${config.encoderPack}`);
    console.log(`  data          ${files.root}`);
    console.log(`  log           ${files.log}`);
    console.log('Fill it with: npm run ingest -- <folder or manifest>. Ctrl-C stops it.');
  });
}
