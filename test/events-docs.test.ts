import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { z } from 'zod';
import { itemMessage, parseItemMessage } from '@sightline/shared/contracts/item-message';
import { EVENTS, parseEvent } from '@sightline/shared/contracts/events';

const root = fileURLToPath(new URL('..', import.meta.url));
const text = readFileSync(`${root}docs/events.md`, 'utf8');
const document: unknown = parse(readFileSync(`${root}docs/asyncapi.yaml`, 'utf8'));

/** Follows `#/a/b`; undefined where it leads nowhere. */
function follow(ref: string): unknown {
  let at: unknown = document;
  for (const name of ref.slice(2).split('/')) at = z.record(z.string(), z.unknown()).safeParse(at).data?.[name];
  return at;
}

function refsIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(refsIn);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => (name === '$ref' ? [z.string().parse(inner)] : refsIn(inner)));
}

test('every reference of the AsyncAPI document leads somewhere', () => {
  const refs = refsIn(document);
  expect(refs.length).toBeGreaterThan(0);
  expect(refs.filter((ref) => follow(ref) === undefined)).toEqual([]);
});

test.each(Object.entries(EVENTS))('%s is sent on its channel, with a payload that allows further fields', (type, { topic }) => {
  expect(follow(`#/channels/${topic}/messages/${type}`)).toEqual({ $ref: `#/components/messages/${type}` });
  expect(follow(`#/operations/tell-${topic}/messages`)).toContainEqual({ $ref: `#/channels/${topic}/messages/${type}` });
  expect(follow(`#/components/messages/${type}/payload/properties/type`)).toEqual({ type: 'string', const: type });
  expect(JSON.stringify(follow(`#/components/messages/${type}/payload`))).not.toContain('"additionalProperties":false');
});

test.each(Object.entries(EVENTS))('docs/events.md has %s with its topic', (type, { topic }) => {
  expect(text).toMatch(new RegExp(`\\| \`${type}\` +\\| \`sightline\\.${topic}\` +\\|`));
});

test('the example in docs/events.md is an event', () => {
  const example = /```json\n([\s\S]*?)```/.exec(text)?.[1] ?? '';
  expect(parseEvent(JSON.parse(example))).toEqual(JSON.parse(example));
});

test('the record in docs/events.md is a message that is read, and its channel is in the AsyncAPI document', () => {
  const examples = [...text.matchAll(/```json\n([\s\S]*?)```/g)].map(([, example = '']): unknown => JSON.parse(example));
  const records = examples.filter((example) => itemMessage.safeParse(example).success);
  expect(records.map((record) => parseItemMessage(record).change.itemId)).toEqual(['sku-1']);
  expect(follow('#/operations/read-items')).toMatchObject({ action: 'receive', channel: { $ref: '#/channels/items' } });
  expect(follow('#/channels/items')).toMatchObject({ address: 'catalog.items' });
  expect(JSON.stringify(follow('#/components/messages/item/payload'))).not.toContain('"additionalProperties":false');
});
