import { pino } from 'pino';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { dataFiles } from '@sightline/shared/runtime/open-engines';

/** What waits to be written while the disk is full; more is dropped. */
const MOST_WAITING_BYTES = 1024 * 1024;

/**
 * The log beside the data, written as it comes. It is what is opened in DATA_DIR first, so here it shows that nothing can be.
 * Error: `config_invalid`.
 */
export function openLogFile(dataDir: string): pino.DestinationStream {
  const { root, log } = dataFiles(dataDir);
  try {
    const file = pino.destination({ dest: log, mkdir: true, sync: true, maxLength: MOST_WAITING_BYTES });
    // Without a listener a full disk would throw out of every line that is logged, into what it tells about.
    file.on('error', () => undefined);
    return file;
  } catch (error) {
    throw new SightlineError('config_invalid', `DATA_DIR cannot be written: ${root}`, { cause: error });
  }
}
