import { newId } from '@sightline/shared/contracts/ids';
import { sourcePlace } from '@sightline/shared/contracts/source-place';
import type { Ledger } from '@sightline/shared/ports/ledger';
import { dataFiles, type EnginePlaces } from '@sightline/shared/runtime/open-engines';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { openKafkaChangeFeed } from './adapters/kafka-change-feed.ts';
import { LocalChangeFeed } from './adapters/local-change-feed.ts';
import type { ChangeFeed } from './core/change-feed.ts';

export interface ChangeFeedPlaces extends Pick<EnginePlaces, 'kafka' | 's3' | 'dataDir'> {
  notificationsTopic: string;
  itemsTopic: string;
  allowedSources: readonly string[];
}

/** Where changes are heard of, by configuration: Kafka where it is named, and folders where objects lie in folders. */
export async function openChangeFeeds(
  { kafka, s3, dataDir, ...told }: ChangeFeedPlaces,
  deps: { ledger: Ledger; logger: Logger; registry: Registry },
): Promise<ChangeFeed[]> {
  const feeds: ChangeFeed[] = [];
  if (kafka) feeds.push(await openKafkaChangeFeed({ ...kafka, ...told }, deps));
  if (!s3) feeds.push(openLocalChangeFeed(dataDir, deps));
  return feeds;
}

function openLocalChangeFeed(dataDir: string, { ledger, logger }: { ledger: Ledger; logger: Logger }): ChangeFeed {
  const folders = async (): Promise<string[]> => {
    const places = (await ledger.latestIngestions(null)).flatMap(({ source }) => sourcePlace(source) ?? []);
    return [...new Set(places.map(({ bucket }) => bucket).filter((bucket) => bucket.startsWith('/')))];
  };
  /** A source whose ingestion began before its folder was watched is looked through once more. */
  const onWatched = async (folder: string, since: number): Promise<void> => {
    for (const { tenant, source, createdAt } of await ledger.latestIngestions(null)) {
      if (sourcePlace(source)?.bucket !== folder || createdAt >= since) continue;
      await ledger.createIngestion({ ingestionId: newId(), tenant, source, createdAt: Date.now() });
    }
  };
  return new LocalChangeFeed({ folders, onWatched, dataDir: dataFiles(dataDir).root, logger });
}
