/**
 * `npm run up [-- --profile embedded|production]`: the embedded stack, without the sample; or the four services as processes of
 * their own against the engines that the environment names. PORT, DATA_DIR and ENCODER_PACK as in docs/configuration.md.
 */
import { fileURLToPath } from 'node:url';
import { SETTINGS } from '@sightline/embedded/config';
import { startEmbedded } from '@sightline/embedded/embedded';
import { openLogger } from '@sightline/shared/runtime/logger';
import { dataFiles } from '@sightline/shared/runtime/open-engines';
import { runMain, type MainOptions } from '@sightline/shared/runtime/run-main';
import { parseArgs } from 'node:util';
import { openLogFile } from './log-file.ts';
import { upProduction } from './up-production.ts';

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

async function upEmbedded(): Promise<void> {
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

if (import.meta.main) {
  const { profile } = parseArgs({ options: { profile: { type: 'string', default: 'embedded' } } }).values;
  if (profile === 'production') await upProduction();
  else if (profile === 'embedded') await upEmbedded();
  else {
    console.error(`There is no profile ${profile}: embedded or production.`);
    process.exitCode = 2;
  }
}
