import { expect, test } from '@jest/globals';
import { parseBucketNotification } from './bucket-notification.ts';

const at = Date.parse('2026-11-29T03:00:00.000Z');
const objectsOf = (value: unknown) => parseBucketNotification(value).objects;

test('AWS: keys are form-encoded, eTags plain, several records in one message', () => {
  const aws = (key: string, eventName: string) => ({
    eventVersion: '2.3',
    eventSource: 'aws:s3',
    awsRegion: 'eu-central-1',
    eventTime: '2026-11-29T03:00:00.000Z',
    eventName,
    userIdentity: { principalId: 'AWS:AIDA' },
    s3: {
      s3SchemaVersion: '1.0',
      configurationId: 'c',
      bucket: { name: 'shop', ownerIdentity: { principalId: 'A3' }, arn: 'arn:aws:s3:::shop' },
      object: { key, size: 1024, eTag: 'd41d8cd98f00b204e9800998ecf8427e', sequencer: '0055AED6DCD90281E5' },
    },
  });
  const message = {
    Records: [aws('red+bike+%C3%BC%2B.jpg', 'ObjectCreated:Put'), aws('old.jpg', 'ObjectRemoved:DeleteMarkerCreated')],
  };
  expect(objectsOf(message)).toEqual([
    { bucket: 'shop', keys: ['red+bike+%C3%BC%2B.jpg', 'red bike ü+.jpg', 'red+bike+ü+.jpg'], changedAt: at },
    { bucket: 'shop', keys: ['old.jpg'], changedAt: at },
  ]);
});

test('MinIO: the records stand in an envelope, with names that begin with s3:', () => {
  const message = {
    EventName: 's3:ObjectCreated:Put',
    Key: 'shop/a%2Fb.jpg',
    Records: [
      {
        eventVersion: '2.0',
        eventSource: 'minio:s3',
        eventTime: '2026-11-29T03:00:00.000Z',
        eventName: 's3:ObjectCreated:Put',
        s3: { bucket: { name: 'shop' }, object: { key: 'a%2Fb.jpg', eTag: '"quoted"', sequencer: '17' } },
      },
    ],
  };
  expect(objectsOf(message)).toEqual([{ bucket: 'shop', keys: ['a%2Fb.jpg', 'a/b.jpg'], changedAt: at }]);
});

test('Versity: keys are plain, also those that look encoded', () => {
  const message = {
    Records: [
      {
        eventName: 's3:ObjectRemoved:Delete',
        eventTime: '2026-11-29T03:00:00Z',
        s3: { bucket: { name: 'shop' }, object: { key: '100%.jpg', sequencer: '1' } },
      },
    ],
  };
  expect(objectsOf(message)).toEqual([{ bucket: 'shop', keys: ['100%.jpg'], changedAt: at }]);
});

test('Ceph: plus stands for itself, times are finer, fields of its own do not matter', () => {
  const message = {
    Records: [
      {
        eventVersion: '2.2',
        eventSource: 'ceph:s3',
        eventTime: '2026-11-29T03:00:00.000000Z',
        eventName: 'ObjectCreated:CompleteMultipartUpload',
        eventId: '1',
        opaqueData: '',
        s3: { bucket: { name: 'shop', id: 'x' }, object: { key: 'a+b%20c.jpg', etag: 'e', metadata: [], tags: [] } },
      },
    ],
  };
  expect(objectsOf(message)).toEqual([{ bucket: 'shop', keys: ['a+b%20c.jpg', 'a b c.jpg', 'a+b c.jpg'], changedAt: at }]);
});

test('a message that SNS brings is taken out of its envelope', () => {
  const Message = JSON.stringify({
    Records: [{ eventName: 'ObjectCreated:Put', s3: { bucket: { name: 'b' }, object: { key: 'k' } } }],
  });
  const enveloped = { Type: 'Notification', MessageId: 'm', TopicArn: 'arn:aws:sns:eu-central-1:1:t', Message };
  expect(objectsOf(enveloped)).toEqual([{ bucket: 'b', keys: ['k'], changedAt: null }]);
  expect(() => objectsOf({ ...enveloped, Message: 'hello' })).toThrow();
});

test('test events and what leaves the bytes alone name nothing', () => {
  expect(objectsOf({ Service: 'Amazon S3', Event: 's3:TestEvent', Bucket: 'shop' })).toEqual([]);
  const of = (eventName: string) => ({ eventName, s3: { bucket: { name: 'b' }, object: { key: 'k' } } });
  expect(objectsOf({ Records: ['s3:ObjectAccessed:Get', 'ObjectTagging:Put', 'ObjectAcl:Put'].map(of) })).toEqual([]);
  expect(objectsOf({ Records: [of('s3:ObjectRestore:Completed')] })).toEqual([{ bucket: 'b', keys: ['k'], changedAt: null }]);
});

test('a record of another shape is told of, and the others of its message count', () => {
  const good = { eventName: 'ObjectCreated:Put', eventTime: 'yesterday', s3: { bucket: { name: 'b' }, object: { key: 'k' } } };
  const { objects, unreadable } = parseBucketNotification({ Records: [{ eventName: 'x' }, good, 7] });
  expect(objects).toEqual([{ bucket: 'b', keys: ['k'], changedAt: null }]);
  expect(unreadable).toMatch(/s3/);
});

test.each([null, 7, 'text', [], {}, { Records: 'none' }, { Event: 'other' }])('%j is no notification', (value) => {
  expect(() => parseBucketNotification(value)).toThrow();
});
