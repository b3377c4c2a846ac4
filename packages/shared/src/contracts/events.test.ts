import { expect, test } from '@jest/globals';
import { assetEvent } from '../../testing/asset-event.ts';
import { deadLetterTopic, eventGroup, eventTopic, eventTopics, parseEvent } from './events.ts';

test('the same happening has the same id, another version, tenant or subject another one', () => {
  const { id } = assetEvent('a', 1);
  expect(assetEvent('a', 1).id).toBe(id);
  for (const other of [assetEvent('a', 2), assetEvent('b', 1), assetEvent('a', 1, 'other')]) expect(other.id).not.toBe(id);
});

test('an id does not change from one version of the code to the next', () => {
  expect(assetEvent('a', 1).id).toBe('c0275476-0b4e-54d7-88a4-9e089df6dde0');
});

test('an event survives JSON, unknown fields are dropped and unknown types skipped', () => {
  const event = assetEvent('a');
  const sent: unknown = JSON.parse(JSON.stringify(event));
  expect(parseEvent(sent)).toEqual(event);
  expect(parseEvent({ ...event, extension: 1, data: { ...event.data, later: true } })).toEqual(event);
  expect(parseEvent({ ...event, type: 'asset.moved' })).toBeNull();
  expect(parseEvent({ ...event, type: 'constructor' })).toBeNull();
});

test('what is no event is told from one of an unknown type', () => {
  const event = assetEvent('a');
  for (const broken of [
    null,
    'text',
    {},
    { ...event, specversion: '0.3' },
    { ...event, tenant: undefined },
    { ...event, data: {} },
  ])
    expect(() => parseEvent(broken)).toThrow(expect.objectContaining({ name: 'ZodError' }));
});

test('names on the broker carry the prefix', () => {
  expect(eventTopics('shop.')).toEqual(['shop.assets', 'shop.ingestions', 'shop.audits', 'shop.questions']);
  expect(eventTopic('shop.', 'asset.failed')).toBe('shop.assets');
  expect(deadLetterTopic('shop.assets')).toBe('shop.assets.dead');
  expect(eventGroup('shop.', 'mirror')).toBe('shop.mirror');
});
