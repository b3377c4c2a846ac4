import { afterAll, beforeAll, describe } from '@jest/globals';
import { describeIndexVersions } from '../../testing/index-versions-contract.ts';
import { openQdrantRoom, type QdrantRoom } from '../../testing/qdrant-room.ts';
import { qdrantMissing } from '../../testing/qdrant-server.ts';
import { qdrantIndexVersions } from './qdrant-index-versions.ts';

const suite = qdrantMissing ? describe.skip : describe;
suite(qdrantMissing ? `qdrant index versions (${qdrantMissing})` : 'qdrant index versions', () => {
  let room: QdrantRoom;
  beforeAll(async () => {
    room = await openQdrantRoom();
  }, 120_000);
  afterAll(() => room.close());

  describeIndexVersions('qdrant', async () => {
    const { url, apiKey } = room.server;
    const place = { url, ...(apiKey && { apiKey }), alias: room.newAlias() };
    const versions = qdrantIndexVersions(place);
    const again = qdrantIndexVersions(place);
    room.onClear(() => Promise.all([versions.close(), again.close()]));
    return { versions, again, close: () => room.clear() };
  });
});
