import { createWriteStream, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { SETTINGS as QUERY_API } from '@sightline/query-api/settings';
import { SHARED_SETTINGS, type Settings } from '@sightline/shared/runtime/config';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { openLogger } from '@sightline/shared/runtime/logger';
import { runMain } from '@sightline/shared/runtime/run-main';
import { sleep } from '@sightline/shared/runtime/sleep';
import { freePort } from '@sightline/shared/testing/free-port';
import { openLogFile } from './log-file.ts';
import { PRODUCTION_PROCESSES, ServiceProcess, type ProcessPlan } from './service-process.ts';

const SETTINGS = {
  dataDir: SHARED_SETTINGS.dataDir,
  host: QUERY_API.host,
  port: QUERY_API.port,
} satisfies Settings;

/** What has to be named, and an example of it. */
const ENGINES = {
  REDIS_URL: 'redis://127.0.0.1:6379',
  S3_ENDPOINT: 'http://127.0.0.1:7070, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
  KAFKA_BROKERS: '127.0.0.1:9092',
  QDRANT_URL: 'http://127.0.0.1:6333',
};
const START_TIMEOUT_MS = 180_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
/** Who ran for so long starts again at once the next time. */
const STEADY_AFTER_MS = 60_000;

/**
 * The four services as processes of their own, two encode workers among them, against the engines that the environment names.
 * A process that ends is started again, later each time. Ctrl-C stops all of them in order.
 */
export async function upProduction(): Promise<void> {
  await runMain(
    {
      service: 'up',
      settings: SETTINGS,
      env: process.env,
      openLogger: ({ dataDir }, level) => openLogger({ service: 'up', level }, openLogFile(dataDir)),
      onFatal: (error) => console.error(`\n${error.message}`),
      onStopping: () => console.log('\nStopping ...'),
    },
    async ({ config, logger, closer }) => {
      const missing = Object.entries(ENGINES).filter(([variable]) => !process.env[variable]);
      if (missing.length > 0) {
        const lines = missing.map(([variable, example]) => `  ${variable}=${example}`).join('\n');
        throw new SightlineError('config_invalid', `The production profile needs the engines' addresses:\n${lines}`);
      }
      const logs = join(resolve(config.dataDir), 'logs');
      mkdirSync(logs, { recursive: true });
      console.log(`Starting ${PRODUCTION_PROCESSES.length} processes, their logs are in ${logs} ...`);

      const stopping = new AbortController();
      const running = new Map<ProcessPlan, ServiceProcess>();
      const start = async (plan: ProcessPlan): Promise<ServiceProcess> => {
        const healthPort = await freePort();
        const log = createWriteStream(join(logs, `${plan.name}.log`), { flags: 'a' });
        // A full disk costs the log, not the service.
        log.on('error', () => undefined);
        const env = { DATA_DIR: config.dataDir, HEALTH_PORT: String(healthPort) };
        const process = new ServiceProcess(plan, { env, healthPort, log });
        running.set(plan, process);
        return process;
      };
      closer.push('services', async () => {
        stopping.abort();
        await Promise.all([...running.values()].map((process) => process.stop()));
      });
      await Promise.all(
        PRODUCTION_PROCESSES.map(async (plan) => {
          const process = await start(plan);
          await process.ready(START_TIMEOUT_MS);
          console.log(`  ${plan.name.padEnd(20)} ready, process ${process.pid}`);
          void keepRunning(process, () => start(plan));
        }),
      );

      async function keepRunning(first: ServiceProcess, again: () => Promise<ServiceProcess>): Promise<void> {
        let pauseMs = FIRST_PAUSE_MS;
        for (let process = first; ; process = await again()) {
          const startedAt = performance.now();
          await process.exited;
          if (stopping.signal.aborted) return;
          pauseMs = performance.now() - startedAt > STEADY_AFTER_MS ? FIRST_PAUSE_MS : Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
          logger.error({ name: process.name, ended: process.ended }, 'process ended');
          console.error(`${process.name} ended with ${process.ended}; it starts again in ${pauseMs / 1000} s`);
          await sleep(pauseMs, stopping.signal).catch(() => undefined);
          if (stopping.signal.aborted) return;
        }
      }
      console.log(`Sightline is at http://${config.host}:${config.port}. Ctrl-C stops it.`);
    },
  );
}
