import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { DELIVERY_DELAYS_MS, MAX_WEBHOOK_BODY_BYTES, ROTATION_MS } from '@sightline/shared/contracts/webhooks';
import type { Webhook } from '@sightline/shared/ports/webhook-ledger';
import { freePort } from '@sightline/shared/testing/free-port';
import { Webhook as Standard } from 'standardwebhooks';
import { ReceiverSlots } from './core/webhooks/receiver-slots.ts';
import { sendInTurn, type Sent } from './core/webhooks/send-delivery.ts';
import { DeliveryRig } from './testing/delivery-rig.ts';
import { openWebhookReceiver, type Answer, type Received, type WebhookReceiver } from './testing/webhook-receiver.ts';

const SECOND_MS = 1_000;
const DAY_MS = 24 * 3_600_000;
const secretOf = (text: string) => `whsec_${Buffer.from(text.padEnd(32, '.')).toString('base64')}`;

let rig: DeliveryRig;
let receiver: WebhookReceiver;
/** What the receiver answers; a test sets it. */
let answer: (received: Received) => Answer | Promise<Answer>;

beforeEach(async () => {
  answer = () => ({ status: 204 });
  rig = await DeliveryRig.open();
  receiver = await openWebhookReceiver({ secrets: [rig.secret], answer: (received) => answer(received), now: rig.now });
});
afterEach(async () => {
  await receiver.close();
  await rig.close();
});

const ids = () => receiver.received.map(({ webhookId }) => webhookId);

test('a delivery is posted once, signed, as JSON, under the id of its message', async () => {
  const webhook = await rig.addWebhook(receiver.url);
  await rig.tell('q-1', { messageId: 'm-1' });
  expect(await rig.sendDue()).toEqual(['delivered']);
  expect(await rig.sendDue()).toEqual([]);
  const [got] = receiver.received;
  expect(got?.headers).toMatchObject({
    'webhook-id': 'm-1',
    'webhook-timestamp': String(Math.floor(rig.now() / 1000)),
    'content-type': 'application/json',
    'user-agent': 'sightline-webhooks/1',
  });
  expect(JSON.parse(got?.body ?? '')).toEqual({
    type: 'question.answered',
    timestamp: new Date(rig.now()).toISOString(),
    data: { question_id: 'q-1', status: 'answered', answer: 'AM4 [1].', sequence: 1 },
  });
  const [delivery] = await rig.log(webhook);
  expect(delivery).toMatchObject({ status: 'delivered', tries: 1, nextAttemptAt: null });
  expect(delivery?.attempts).toEqual([{ at: rig.now(), durationMs: 0, status: 204, error: null }]);
});

test("a body that was changed on the way is refused by the standard's own library, whatever the secret", async () => {
  await rig.addWebhook(receiver.url);
  await rig.tell('q-1');
  await rig.sendDue();
  const [got] = receiver.received;
  const standard = new Standard(rig.secret);
  const { body = '', headers = {} } = got ?? {};
  expect(standard.verify(body, headers)).toMatchObject({ type: 'question.answered' });
  expect(() => standard.verify(body.replace('AM4', 'AM5'), headers)).toThrow('No matching signature');
  expect(() => standard.verify(body, { ...headers, 'webhook-id': 'another' })).toThrow('No matching signature');
  expect(() => new Standard(secretOf('another')).verify(body, headers)).toThrow('No matching signature');
});

test('while a secret is rotated old and new verify, and afterwards the new one alone', async () => {
  const [old, fresh] = [secretOf('old'), secretOf('new')];
  const secrets: Webhook['secrets'] = [
    { secret: fresh, expiresAt: null },
    { secret: old, expiresAt: rig.now() + ROTATION_MS },
  ];
  await rig.addWebhook(receiver.url, { secrets });
  receiver.secrets = [old, fresh];
  await rig.tell('q-1');
  await rig.sendDue();
  expect(receiver.received.map(({ verifiedBy }) => verifiedBy)).toEqual([[old, fresh]]);
  expect(receiver.received[0]?.headers['webhook-signature']?.split(' ')).toHaveLength(2);
  for (const secret of [old, fresh])
    expect(() =>
      new Standard(secret).verify(receiver.received[0]?.body ?? '', receiver.received[0]?.headers ?? {}),
    ).not.toThrow();
  rig.pass(ROTATION_MS);
  await rig.tell('q-2');
  await rig.sendDue();
  expect(receiver.received[1]?.verifiedBy).toEqual([fresh]);
});

test("a question's own address is sent to under its own secret, also one without padding", async () => {
  const secret = secretOf('own').replace(/=+$/, '');
  receiver.secrets = [secretOf('own')];
  await rig.tell('q-1', { to: { url: receiver.url, secret } });
  expect(await rig.sendDue()).toEqual(['delivered']);
  expect(JSON.parse(receiver.received[0]?.body ?? '').data.sequence).toBe(1);
});

test.each([
  ['a server error', 500],
  ['a client error', 404],
  ['a redirect, which is not followed', 302],
  ['a permanent redirect', 308],
])('%s is a failure, tried again by the schedule with the same id and the same bytes', async (_, status) => {
  answer = ({ nth }) =>
    nth === 1 ? { status, headers: { location: `${receiver.url}/elsewhere` } } : { status: 200, body: 'ok' };
  const webhook = await rig.addWebhook(receiver.url);
  await rig.tell('q-1');
  expect(await rig.sendDue()).toEqual(['retried']);
  expect((await rig.log(webhook))[0]).toMatchObject({
    status: 'pending',
    nextAttemptAt: rig.now() + DELIVERY_DELAYS_MS[0],
    attempts: [{ status, error: null }],
  });
  expect((await rig.webhook(webhook))?.failingSince).toBe(rig.now());
  rig.pass(DELIVERY_DELAYS_MS[0] - 1);
  expect(await rig.sendDue()).toEqual([]);
  rig.pass(1);
  expect(await rig.sendDue()).toEqual(['delivered']);
  expect(new Set(ids()).size).toBe(1);
  expect(receiver.stored()).toMatchObject([{ times: 2, changed: 0 }]);
  // The signature is of the attempt's own time.
  const times = receiver.received.map(({ headers }) => headers['webhook-timestamp']);
  expect(new Set(times).size).toBe(2);
  expect((await rig.webhook(webhook))?.failingSince).toBeNull();
});

test('Retry-After puts the next attempt off', async () => {
  answer = () => ({ status: 429, headers: { 'retry-after': '600' } });
  const webhook = await rig.addWebhook(receiver.url);
  await rig.tell('q-1');
  await rig.sendDue();
  expect((await rig.log(webhook))[0]?.nextAttemptAt).toBe(rig.now() + 600 * SECOND_MS);
});

test('a receiver that hangs is a failure after the time-out, and tried again', async () => {
  answer = ({ nth }) => (nth === 1 ? 'hang' : { status: 204 });
  const webhook = await rig.addWebhook(receiver.url);
  await rig.tell('q-1');
  expect(await rig.sendDue({ timeoutMs: 200 })).toEqual(['retried']);
  expect((await rig.log(webhook))[0]?.attempts).toMatchObject([{ status: null, error: 'url_timeout' }]);
  rig.pass(DELIVERY_DELAYS_MS[0]);
  expect(await rig.sendDue()).toEqual(['delivered']);
  expect(receiver.stored()).toMatchObject([{ times: 2, changed: 0 }]);
});

test('a receiver that is away, an address that is not called and an endless answer are failures with a code', async () => {
  const endless = createServer((_, response) => {
    const chunk = Buffer.alloc(256 * 1024);
    const more = (): void => void (response.destroyed || response.write(chunk, more));
    more();
  });
  await new Promise<void>((resolve) => endless.listen(0, '127.0.0.1', resolve));
  const { port } = endless.address() as AddressInfo;
  const urls = {
    away: `http://127.0.0.1:${await freePort()}/`,
    inner: 'http://10.0.0.1:8080/',
    endless: `http://127.0.0.1:${port}/`,
  };
  const codes: Record<string, string | null | undefined> = {};
  for (const [name, url] of Object.entries(urls)) {
    const webhook = await rig.addWebhook(url, { events: ['question.failed'] });
    await rig.tell('q-1', { to: { webhookId: webhook.webhookId } });
    await rig.sendDue();
    codes[name] = (await rig.log(webhook))[0]?.attempts[0]?.error;
  }
  endless.closeAllConnections();
  await new Promise((resolve) => endless.close(resolve));
  expect(codes).toEqual({ away: 'url_unreachable', inner: 'url_not_allowed', endless: 'url_answer_too_large' });
});

test('410 ends the delivery and disables the webhook; what waits is kept and sent once it is enabled', async () => {
  answer = () => ({ status: 410 });
  const webhook = await rig.addWebhook(receiver.url);
  const [first = ''] = await rig.tell('q-1');
  await rig.tell('q-2');
  expect(await rig.send(first)).toMatchObject({ outcome: 'failed', disabled: 'gone' });
  expect(await rig.webhook(webhook)).toMatchObject({ disabledBecause: 'gone' });
  expect(await rig.sendDue()).toEqual([]);
  rig.pass(3 * DAY_MS);
  answer = () => ({ status: 204 });
  await rig.ledger.changeWebhook('t', webhook.webhookId, { disabledBecause: null }, rig.now());
  expect(await rig.sendDue()).toEqual(['delivered']);
  expect((await rig.log(webhook)).map(({ subject, status }) => [subject, status])).toEqual([
    ['q-2', 'delivered'],
    ['q-1', 'failed'],
  ]);
});

test('a schedule that runs out fails its delivery; the webhook is disabled when nothing got through all that time', async () => {
  answer = () => ({ status: 500 });
  const webhook = await rig.addWebhook(receiver.url);
  await rig.tell('q-1');
  await rig.sendDue();
  rig.pass(1);
  await rig.tell('q-2');
  const ends: unknown[] = [];
  for (let turn = 0; turn < 40; turn++) {
    for (const { deliveryId } of await rig.ledger.dueDeliveries({ at: rig.now(), limit: 10 })) {
      const { outcome, disabled } = await rig.send(deliveryId);
      if (outcome === 'failed') ends.push(disabled);
    }
    const waits = (await rig.log(webhook)).flatMap(({ nextAttemptAt }) => nextAttemptAt ?? []);
    if (waits.length === 0) break;
    rig.pass(Math.max(0, Math.min(...waits) - rig.now()));
  }
  // The first one's time was not all there is of failing; the second's was.
  expect(ends).toEqual([null, 'failing']);
  expect(await rig.webhook(webhook)).toMatchObject({ disabledBecause: 'failing' });
  expect((await rig.log(webhook)).map(({ status, tries }) => ({ status, tries }))).toEqual([
    { status: 'failed', tries: 10 },
    { status: 'failed', tries: 10 },
  ]);
  expect(receiver.stored()).toMatchObject([
    { times: 10, changed: 0 },
    { times: 10, changed: 0 },
  ]);
});

test('one delivery, or those of a range, are sent again under their ids and sequence numbers', async () => {
  const webhook = await rig.addWebhook(receiver.url);
  const [first = ''] = await rig.tell('q-1');
  rig.pass(SECOND_MS);
  await rig.tell('q-2');
  rig.pass(SECOND_MS);
  await rig.tell('q-3');
  await rig.sendDue();
  const before = receiver.received.map(({ body }) => body);
  rig.pass(DAY_MS);
  const { webhookId } = webhook;
  await rig.ledger.replayDeliveries('t', webhookId, { deliveryId: first }, rig.now());
  expect(await rig.sendDue()).toEqual(['delivered']);
  const range = { since: rig.now() - DAY_MS - SECOND_MS, until: rig.now(), statuses: ['delivered' as const], limit: 10 };
  expect(await rig.ledger.replayDeliveries('t', webhookId, range, rig.now())).toHaveLength(2);
  expect(await rig.sendDue()).toEqual(['delivered', 'delivered']);
  expect(receiver.received.map(({ body }) => body)).toEqual([...before, ...before]);
  expect(receiver.stored().map(({ times, changed }) => ({ times, changed }))).toEqual(
    before.map(() => ({ times: 2, changed: 0 })),
  );
});

test('sequence numbers have no gaps, in the order in which things happened, also between types', async () => {
  const webhook = await rig.addWebhook(receiver.url);
  for (const n of [1, 2, 3, 4, 5, 6])
    await rig.tell(`q-${n}`, {
      type: (['question.answered', 'question.failed', 'answer.stale'] as const)[n % 3] ?? 'answer.stale',
    });
  await rig.sendDue();
  const told = receiver.received.map(({ body }) => JSON.parse(body)).sort((a, b) => a.data.sequence - b.data.sequence);
  expect(told.map(({ data }) => data.sequence)).toEqual([1, 2, 3, 4]);
  expect((await rig.log(webhook)).map(({ subject }) => subject)).toEqual(['q-6', 'q-4', 'q-3', 'q-1']);
});

test('a body over the limit arrives cut, and verifies', async () => {
  await rig.addWebhook(receiver.url);
  const answerText = '散热器 AM4 [1] '.repeat(3_000);
  await rig.tell('q-1', { data: JSON.stringify({ question_id: 'q-1', status: 'answered', answer: answerText, metadata: {} }) });
  await rig.sendDue();
  const [got] = receiver.received;
  expect(Buffer.byteLength(got?.body ?? '')).toBeLessThanOrEqual(MAX_WEBHOOK_BODY_BYTES);
  expect(JSON.parse(got?.body ?? '').data).toMatchObject({
    question_id: 'q-1',
    status: 'answered',
    truncated: true,
    sequence: 1,
  });
});

test('a sender that dies after posting, before settling, is followed by another that sends the same once more', async () => {
  const webhook = await rig.addWebhook(receiver.url);
  const [deliveryId = ''] = await rig.tell('q-1');
  const dying = Object.create(rig.ledger, {
    settleDelivery: { value: () => Promise.reject(new Error('killed')) },
  }) as typeof rig.ledger;
  await expect(rig.send(deliveryId, { ledger: dying })).rejects.toThrow('killed');
  // Its claim stands.
  expect(await rig.sendDue()).toEqual([]);
  rig.pass(45 * SECOND_MS);
  expect(await rig.sendDue()).toEqual(['delivered']);
  expect(receiver.stored()).toMatchObject([{ times: 2, changed: 0 }]);
  expect((await rig.log(webhook))[0]?.attempts).toHaveLength(1);
});

test('who settles late, after another sent it too, changes nothing', async () => {
  const webhook = await rig.addWebhook(receiver.url);
  const [deliveryId = ''] = await rig.tell('q-1');
  let other: unknown;
  answer = async ({ nth }) => {
    if (nth > 1) return { status: 204 };
    // While the first is answered its claim lapses, and another takes it.
    rig.pass(45 * SECOND_MS);
    other = (await rig.send(deliveryId)).outcome;
    return { status: 500 };
  };
  expect((await rig.send(deliveryId)).outcome).toBe('lost');
  expect(other).toBe('delivered');
  expect((await rig.log(webhook))[0]).toMatchObject({ status: 'delivered', tries: 1 });
});

test('a sender that is stopped while it posts gives the delivery back: no attempt is counted, and another sends it at once', async () => {
  const stop = new AbortController();
  answer = ({ nth }) => {
    if (nth > 1) return { status: 204 };
    stop.abort(new Error('the worker is closing'));
    return 'hang';
  };
  const webhook = await rig.addWebhook(receiver.url);
  const [deliveryId = ''] = await rig.tell('q-1');
  await expect(rig.send(deliveryId, {}, stop.signal)).rejects.toThrow('closing');
  expect((await rig.log(webhook))[0]).toMatchObject({ status: 'pending', tries: 0, attempts: [] });
  expect(await rig.sendDue()).toEqual(['delivered']);
});

test('a receiver that is slow keeps its own slots busy: who finds none is given back and called when one is free', async () => {
  let free = (): void => {};
  const busy = new Promise<void>((resolve) => (free = resolve));
  answer = async ({ body }) => {
    if (!body.includes('q-7')) await busy;
    return { status: 204 };
  };
  await rig.addWebhook(receiver.url);
  const deliveries: string[] = [];
  for (const n of [1, 2, 3, 4, 5, 6]) deliveries.push(...(await rig.tell(`q-${n}`)));
  const sending = deliveries.slice(0, 4).map((id) => rig.send(id));
  while (receiver.received.length < 4) await new Promise((resolve) => setTimeout(resolve, 5));
  expect((await Promise.all(deliveries.slice(4).map((id) => rig.send(id)))).map(({ outcome }) => outcome)).toEqual([
    'waits',
    'waits',
  ]);
  expect(await rig.ledger.dueDeliveries({ at: rig.now(), limit: 10 })).toHaveLength(2);
  // Another tenant at the same host does not wait.
  const [others = ''] = await rig.tell('q-7', { tenant: 'other', to: { url: receiver.url, secret: rig.secret } });
  expect((await rig.send(others)).outcome).toBe('delivered');
  free();
  expect((await Promise.all(sending)).map(({ outcome }) => outcome)).toEqual(Array(4).fill('delivered'));
  expect(rig.driven.map(({ deliveryId }) => deliveryId).sort()).toEqual(deliveries.slice(4).sort());
});

test('who has posted goes on with what waits for its receiver, for a while; what is left then is driven', async () => {
  await rig.addWebhook(receiver.url);
  const deliveries: string[] = [];
  for (const n of [1, 2, 3, 4]) deliveries.push(...(await rig.tell(`q-${n}`)));
  const [first = '', ...others] = deliveries;
  const slots = new ReceiverSlots(1);
  answer = async ({ nth }) => {
    // While the first is posted the others find no slot; with the third the turn is over.
    if (nth === 1) for (const id of others) expect((await rig.send(id, { slots })).outcome).toBe('waits');
    if (nth === 3) rig.pass(1_000);
    return { status: 204 };
  };
  const sent: string[] = [];
  const turn = { turnMs: 1_000, count: ({ outcome }: Sent) => void sent.push(outcome), signal: new AbortController().signal };
  await sendInTurn({ ...rig.deps(), slots }, { tenant: 't', deliveryId: first }, turn);
  expect(sent).toEqual(['delivered', 'delivered', 'delivered']);
  expect(rig.driven).toEqual([{ tenant: 't', deliveryId: deliveries[3] }]);
});
