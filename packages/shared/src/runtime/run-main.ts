import { Socket } from 'node:net';
import type { Logger } from 'pino';
import { SHARED_SETTINGS, readConfig } from './config.ts';
import type { ConfigOf, Settings } from './config.ts';
import { toSightlineError } from './errors.ts';
import { Closer } from './lifecycle.ts';
import { openLogger } from './logger.ts';

/** What every process reads beside its own settings. */
const OWN_SETTINGS = { logLevel: SHARED_SETTINGS.logLevel, shutdownDeadlineMs: SHARED_SETTINGS.shutdownDeadlineMs };

export interface Main<S extends Settings> {
  config: ConfigOf<S>;
  logger: Logger;
  closer: Closer;
  /** Ends the process in order, as a signal would. */
  end: (exitCode: number) => void;
}

export interface MainOptions<S extends Settings> {
  service: string;
  settings: S;
  env: Record<string, string | undefined>;
  /** Instead of JSON lines on standard output. */
  openLogger?: (config: ConfigOf<S>, level: string) => Logger;
  /** Told of what ends the process, besides the log; for programs that talk to people. */
  onFatal?: (error: Error) => void;
  onStopping?: () => void;
}

/** Terminals, npm and wrappers each pass a Ctrl-C on: what comes within this time is the same one. */
const SAME_SIGNAL_MS = 1_000;
/** Nobody is there to wait for us. */
const ORPHANED_DEADLINE_MS = 3_000;

/**
 * The life of a process: reads its configuration, starts, waits for SIGTERM or SIGINT, closes in reverse order within the
 * deadline, exits with 0. A second signal exits at once with 130. A failure to start, or an error that nobody caught, is
 * logged, closes what is open and exits with 1: an unknown state is not worked on. Started by `scripts/run.mjs`, it also ends
 * when that process is gone.
 */
export async function runMain<S extends Settings>(
  options: MainOptions<S>,
  start: (main: Main<S>) => Promise<void>,
): Promise<void> {
  let config: ConfigOf<S>;
  let own: ConfigOf<typeof OWN_SETTINGS>;
  let logger: Logger;
  try {
    // All at once, so that one start names every wrong variable.
    config = readConfig({ ...options.settings, ...OWN_SETTINGS }, options.env);
    own = readConfig(OWN_SETTINGS, options.env);
    logger = options.openLogger?.(config, own.logLevel) ?? openLogger({ service: options.service, level: own.logLevel });
  } catch (error) {
    // There is no log yet: who watches a terminal is told in words, and only there.
    if (options.onFatal) options.onFatal(toSightlineError(error));
    else die(options, openLogger({ service: options.service, level: 'info' }), error);
    return process.exit(1);
  }
  const closer = new Closer(logger);
  let endingSince: number | null = null;
  const end = (exitCode: number, deadlineMs: number = own.shutdownDeadlineMs): void => {
    if (endingSince !== null) return;
    endingSince = performance.now();
    void closer.closeAll(deadlineMs).then(() => process.exit(exitCode));
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    if (endingSince !== null && performance.now() - endingSince > SAME_SIGNAL_MS) process.exit(130);
    if (endingSince === null) options.onStopping?.();
    logger.info({ signal }, 'stopping');
    end(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, onSignal);
  const onUncaught = (error: unknown): void => {
    // What breaks off while everything closes is no news.
    if (endingSince !== null) {
      logger.warn({ err: error }, 'while stopping');
      return;
    }
    die(options, logger, error);
    end(1);
  };
  process.on('uncaughtException', onUncaught);
  process.on('unhandledRejection', onUncaught);
  whenParentIsGone(options.env['SIGHTLINE_PARENT_PIPE'], () => end(1, ORPHANED_DEADLINE_MS));
  try {
    await start({ config, logger, closer, end });
  } catch (error) {
    onUncaught(error);
  }
}

function die<S extends Settings>(options: MainOptions<S>, logger: Logger, thrown: unknown): void {
  const error = toSightlineError(thrown);
  logger.fatal({ err: error, code: error.code }, error.message);
  options.onFatal?.(error);
}

/** `<fd>:<pid>`: that parent keeps the other end of a pipe open for as long as it lives. A grandchild inherits the variable, not the pipe. */
function whenParentIsGone(place: string | undefined, onGone: () => void): void {
  const [fd, pid] = place?.split(':') ?? [];
  if (!fd || Number(pid) !== process.ppid) return;
  const pipe = new Socket({ fd: Number(fd), readable: true, writable: false });
  pipe.on('error', () => undefined);
  pipe.on('close', onGone);
  pipe.resume();
  pipe.unref();
}
