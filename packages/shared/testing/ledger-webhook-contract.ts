import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { deliveryId } from '../src/contracts/ids.ts';
import type { Ledger } from '../src/ports/ledger.ts';
import type { Delivery, DeliveryAttempt, OutboxMessage, Webhook } from '../src/ports/webhook-ledger.ts';
import { newMessage, newWebhook, ODD_TEXT } from './question-builder.ts';

type Settled = Parameters<Ledger['settleDelivery']>[2];

/** What every Ledger does with webhooks and the outbox: a part of ledgerContract. */
export function ledgerWebhookContract(ledgerOf: () => Ledger, openAgain: () => Promise<Ledger>): void {
  const add = (webhookId: string, more: Partial<Webhook> = {}) => ledgerOf().addWebhook(newWebhook(webhookId, more), 99);
  const send = (messageId: string, more: Partial<OutboxMessage> = {}) => ledgerOf().addMessages([newMessage(messageId, more)]);
  const take = (delivery: string, at = 100, token = 'w1', claimMs = 50) =>
    ledgerOf().takeDelivery(delivery, { token, claimMs, at });
  const attempt = (at: number, more: Partial<DeliveryAttempt> = {}): DeliveryAttempt => ({
    at,
    durationMs: 12.5,
    status: 200,
    error: null,
    ...more,
  });
  const settle = (delivery: string, at: number, more: Partial<Settled> = {}, token = 'w1') =>
    ledgerOf().settleDelivery(delivery, token, { attempt: attempt(at), outcome: { status: 'delivered' }, ...more });
  /** From pending to what is said. */
  const deliver = async (delivery: string, at: number, more: Partial<Settled> = {}): Promise<void> => {
    expect(await take(delivery, at)).not.toBeNull();
    expect(await settle(delivery, at, more)).toBe(true);
  };
  const log = async (webhookId: string, status?: Delivery['status'], tenant = 't'): Promise<Delivery[]> =>
    (await ledgerOf().listDeliveries(tenant, webhookId, { limit: 99, ...(status ? { status } : {}) })).deliveries;
  const due = async (at: number, limit = 99): Promise<string[]> =>
    (await ledgerOf().dueDeliveries({ at, limit })).map((one) => one.deliveryId);
  const backlog = (at: number) => ledgerOf().deliveryBacklog(at);
  const unpublished = async (limit = 99): Promise<string[]> =>
    (await ledgerOf().unpublishedMessages(limit)).map(({ messageId }) => messageId);

  test('a webhook is kept as it was added, newest first in the list, each tenant its own', async () => {
    const ledger = ledgerOf();
    const full = newWebhook('h1', {
      url: 'https://example.com/ä?x=%20',
      description: ODD_TEXT,
      events: ['question.answered', 'answer.stale'],
      secrets: [
        { secret: 'whsec_new', expiresAt: null },
        { secret: 'whsec_old', expiresAt: 90 },
      ],
      disabledBecause: 'gone',
      createdAt: 3,
      updatedAt: 4,
      failingSince: 2,
    });
    await ledger.addWebhook(full, 9);
    await add('h2', { createdAt: 5 });
    await add('h3', { createdAt: 4 });
    await add('other', { tenant: 'u' });
    expect(await ledger.getWebhook('t', 'h1')).toEqual(full);
    expect(await ledger.getWebhook('u', 'h1')).toBeNull();
    expect(await ledger.getWebhook('t', 'none')).toBeNull();
    expect((await ledger.listWebhooks('t')).map(({ webhookId }) => webhookId)).toEqual(['h2', 'h3', 'h1']);
    expect((await ledger.listWebhooks('t'))[2]).toEqual(full);
    expect(await ledger.listWebhooks('v')).toEqual([]);
    // Added twice it is there once, as it was.
    await ledger.addWebhook({ ...full, url: 'https://example.com/other' }, 9);
    expect(await ledger.getWebhook('t', 'h1')).toEqual(full);
  });

  test('a tenant has as many webhooks as are allowed, however many are added at once', async () => {
    const other = await openAgain();
    try {
      const all = await Promise.allSettled(
        Array.from({ length: 8 }, (_, n) => (n % 2 === 0 ? ledgerOf() : other).addWebhook(newWebhook(`h${n}`), 3)),
      );
      expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
      for (const one of all) if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'too_many_webhooks' });
      expect(await ledgerOf().listWebhooks('t')).toHaveLength(3);
      await ledgerOf().addWebhook(newWebhook('of-another', { tenant: 'u' }), 3);
      const [first] = await ledgerOf().listWebhooks('t');
      await ledgerOf().deleteWebhook('t', first!.webhookId, 5);
      await ledgerOf().addWebhook(newWebhook('h9'), 3);
    } finally {
      await other.close();
    }
  });

  test('a webhook is changed in what is given alone', async () => {
    await add('h1', { description: 'd', failingSince: 4 });
    const before = newWebhook('h1', { description: 'd', failingSince: 4 });
    const change = (more: Parameters<Ledger['changeWebhook']>[2], at: number, tenant = 't', webhookId = 'h1') =>
      ledgerOf().changeWebhook(tenant, webhookId, more, at);
    expect(await change({}, 9)).toEqual({ ...before, updatedAt: 9 });
    expect(await change({ url: 'https://example.com/new', description: '' }, 10)).toEqual({
      ...before,
      url: 'https://example.com/new',
      description: '',
      updatedAt: 10,
    });
    const secrets = [
      { secret: 'whsec_b', expiresAt: null },
      { secret: 'whsec_a', expiresAt: 99 },
    ];
    expect(await change({ events: ['answer.stale'], secrets }, 11)).toMatchObject({ events: ['answer.stale'], secrets });
    expect(await change({ disabledBecause: 'user' }, 12)).toMatchObject({ disabledBecause: 'user', failingSince: 4 });
    expect(await change({ disabledBecause: null }, 13)).toMatchObject({ disabledBecause: null, failingSince: null });
    expect(await change({ url: 'x' }, 14, 'u')).toBeNull();
    expect(await change({ url: 'x' }, 14, 't', 'none')).toBeNull();
    expect(await ledgerOf().getWebhook('t', 'h1')).toEqual({
      ...before,
      url: 'https://example.com/new',
      description: '',
      events: ['answer.stale'],
      secrets,
      updatedAt: 13,
      failingSince: null,
    });
  });

  test('what happened goes to every enabled webhook of the tenant that wants it, each with its own sequence', async () => {
    await add('h1', { events: ['question.answered', 'answer.stale'] });
    await add('h2', { createdAt: 2 });
    await add('h3', { events: ['question.failed'] });
    await add('user', { disabledBecause: 'user' });
    await add('failing', { disabledBecause: 'failing' });
    await add('gone', { disabledBecause: 'gone' });
    await add('other', { tenant: 'u' });
    const made = await ledgerOf().addMessages([
      newMessage('m1', { at: 100 }),
      newMessage('m2', { at: 101, type: 'answer.stale', subject: ODD_TEXT }),
      newMessage('m3', { at: 102 }),
    ]);
    expect(made.toSorted()).toEqual(
      [
        deliveryId('m1', 'h1'),
        deliveryId('m1', 'h2'),
        deliveryId('m2', 'h1'),
        deliveryId('m3', 'h1'),
        deliveryId('m3', 'h2'),
      ].toSorted(),
    );
    expect((await log('h1')).map(({ messageId, sequence }) => [messageId, sequence])).toEqual([
      ['m3', 3],
      ['m2', 2],
      ['m1', 1],
    ]);
    expect((await log('h2')).map(({ messageId, sequence }) => [messageId, sequence])).toEqual([
      ['m3', 2],
      ['m1', 1],
    ]);
    expect((await log('h1'))[1]).toEqual({
      deliveryId: deliveryId('m2', 'h1'),
      messageId: 'm2',
      tenant: 't',
      type: 'answer.stale',
      subject: ODD_TEXT,
      webhookId: 'h1',
      sequence: 2,
      status: 'pending',
      createdAt: 101,
      nextAttemptAt: 101,
      attempts: [],
      tries: 0,
    });
    for (const none of ['h3', 'user', 'failing', 'gone', 'other']) expect(await log(none)).toEqual([]);
    expect(await log('other', undefined, 'u')).toEqual([]);
    // What was disabled meanwhile never gets it.
    await ledgerOf().changeWebhook('t', 'user', { disabledBecause: null }, 200);
    expect(await log('user')).toEqual([]);
  });

  test('a message that is added again adds nothing, whoever does it', async () => {
    await add('h1');
    const other = await openAgain();
    try {
      const all = await Promise.all(
        Array.from({ length: 6 }, (_, n) => (n % 2 === 0 ? ledgerOf() : other).addMessages([newMessage('m1')])),
      );
      expect(all.flat()).toEqual([deliveryId('m1', 'h1')]);
    } finally {
      await other.close();
    }
    await add('h2');
    await deliver(deliveryId('m1', 'h1'), 100);
    expect(await send('m1', { data: 'other', to: { webhookId: 'h2' } })).toEqual([]);
    expect(await send('m2')).toHaveLength(2);
    expect((await log('h1')).map(({ sequence, status }) => [sequence, status])).toEqual([
      [2, 'pending'],
      [1, 'delivered'],
    ]);
    expect((await log('h2')).map(({ messageId, sequence }) => [messageId, sequence])).toEqual([['m2', 1]]);
    expect(await unpublished()).toEqual(['m1', 'm2']);
    expect(await ledgerOf().addMessages([])).toEqual([]);
  });

  test('sequences are handed out without gaps, however many messages come at once', async () => {
    await add('h1');
    await add('h2', { events: ['question.answered', 'answer.stale'] });
    const other = await openAgain();
    try {
      await Promise.all(
        Array.from({ length: 20 }, (_, n) =>
          (n % 2 === 0 ? ledgerOf() : other).addMessages([
            newMessage(`m${n}`, { at: 100 + n, type: n % 3 === 0 ? 'answer.stale' : 'question.answered' }),
          ]),
        ),
      );
    } finally {
      await other.close();
    }
    const sequences = async (webhookId: string) =>
      (await log(webhookId)).map(({ sequence }) => sequence).toSorted((a, b) => a - b);
    expect(await sequences('h1')).toEqual(Array.from({ length: 13 }, (_, n) => n + 1));
    expect(await sequences('h2')).toEqual(Array.from({ length: 20 }, (_, n) => n + 1));
  });

  test('a webhook that is named gets it whatever it wants, and waits for it while it is disabled', async () => {
    await add('h1', { events: ['ingestion.completed'] });
    await add('h2');
    await add('off', { disabledBecause: 'user' });
    await add('other', { tenant: 'u' });
    expect(await send('m1', { to: { webhookId: 'h1' } })).toEqual([deliveryId('m1', 'h1')]);
    expect(await send('m2', { to: { webhookId: 'off' } })).toEqual([deliveryId('m2', 'off')]);
    expect(await log('h2')).toEqual([]);
    expect(await due(100)).toEqual([deliveryId('m1', 'h1')]);
    await ledgerOf().changeWebhook('t', 'off', { disabledBecause: null }, 150);
    expect((await take(deliveryId('m2', 'off'), 150))?.to.url).toBe('https://example.com/off');
    // Deleted, never there, or another's: it is told to nobody but the event log.
    await ledgerOf().deleteWebhook('t', 'h1', 160);
    expect(await send('m3', { to: { webhookId: 'h1' }, at: 103 })).toEqual([]);
    expect(await send('m4', { to: { webhookId: 'none' }, at: 104 })).toEqual([]);
    expect(await send('m5', { to: { webhookId: 'other' }, at: 105 })).toEqual([]);
    expect(await log('other', undefined, 'u')).toEqual([]);
    expect((await unpublished()).slice(2)).toEqual(['m3', 'm4', 'm5']);
  });

  test("a question's own address has one delivery, under its own secret", async () => {
    await add('h1');
    const to = { url: 'https://example.com/own?ä', secret: 'whsec_own' };
    const made = await send('m1', { to, data: ODD_TEXT });
    expect(made).toEqual([deliveryId('m1', null)]);
    expect(await log('h1')).toEqual([]);
    expect(await backlog(100)).toEqual({ pending: 1, oldestDueAt: 100 });
    const taken = await take(made[0]!);
    expect(taken).toEqual({
      delivery: expect.objectContaining({ deliveryId: made[0], webhookId: null, sequence: 1, status: 'pending', subject: 'q1' }),
      message: { messageId: 'm1', type: 'question.answered', at: 100, data: ODD_TEXT },
      to: { url: to.url, secrets: ['whsec_own'] },
    });
    const failing: Partial<Settled> = { attempt: attempt(100, { status: 410 }), outcome: { status: 'failed' }, disable: 'gone' };
    expect(await settle(made[0]!, 100, failing)).toBe(true);
    expect(await take(made[0]!, 999)).toBeNull();
    expect(await ledgerOf().replayDeliveries('t', 'h1', { deliveryId: made[0]! }, 200)).toEqual([]);
    expect(await ledgerOf().getWebhook('t', 'h1')).toMatchObject({ disabledBecause: null, failingSince: null });
  });

  test('messages wait for the event log until they are settled, oldest first', async () => {
    await send('m3', { at: 30, event: ODD_TEXT });
    await send('m1', { at: 20 });
    await send('m2', { at: 20, event: null });
    await send('m4', { at: 10, tenant: 'u' });
    expect(await ledgerOf().unpublishedMessages(9)).toEqual([
      { messageId: 'm4', event: '{"event":"m4"}' },
      { messageId: 'm1', event: '{"event":"m1"}' },
      { messageId: 'm3', event: ODD_TEXT },
    ]);
    expect(await unpublished(2)).toEqual(['m4', 'm1']);
    await ledgerOf().settlePublished(['m1', 'm4', 'none']);
    await ledgerOf().settlePublished(['m1']);
    await ledgerOf().settlePublished([]);
    expect(await unpublished()).toEqual(['m3']);
    // Added again by one who did not hear that it was there.
    await send('m1', { at: 20 });
    expect(await unpublished()).toEqual(['m3']);
  });

  test('of two takers one has the delivery, until its claim lapses; who lost it settles nothing', async () => {
    await add('h1');
    const [id] = await send('m1', { data: ODD_TEXT });
    expect(await take(id!, 99)).toBeNull();
    expect(await take('none')).toBeNull();
    const both = await Promise.all([take(id!, 100, 'w1'), take(id!, 100, 'w2')]);
    expect(both.filter((one) => one !== null)).toEqual([
      {
        delivery: (await log('h1'))[0],
        message: { messageId: 'm1', type: 'question.answered', at: 100, data: ODD_TEXT },
        to: { url: 'https://example.com/h1', secrets: ['whsec_h1'] },
      },
    ]);
    const [winner, loser] = both[0] ? ['w1', 'w2'] : ['w2', 'w1'];
    expect(await take(id!, 149, loser)).toBeNull();
    expect(await due(149)).toEqual([]);
    // The same taking, told twice.
    expect(await take(id!, 100, winner)).not.toBeNull();
    expect(await due(150)).toEqual([id]);
    expect(await take(id!, 150, loser)).not.toBeNull();
    expect(await settle(id!, 151, {}, winner)).toBe(false);
    expect((await log('h1'))[0]).toMatchObject({ status: 'pending', attempts: [], tries: 0 });
    expect(await settle(id!, 152, {}, loser)).toBe(true);
    expect(await settle(id!, 153, {}, loser)).toBe(false);
    expect(await take(id!, 999)).toBeNull();
    expect(await settle('none', 153)).toBe(false);
    expect((await log('h1'))[0]).toMatchObject({ status: 'delivered', nextAttemptAt: null, attempts: [attempt(152)], tries: 1 });
  });

  test('a delivery that is given back is due as before, and nothing of it is counted; what another holds, or is settled, stays', async () => {
    await add('h1');
    const [id] = await send('m1');
    await take(id!, 100);
    await ledgerOf().giveBackDelivery(id!, 'another');
    expect(await due(149)).toEqual([]);
    await ledgerOf().giveBackDelivery(id!, 'w1');
    await ledgerOf().giveBackDelivery(id!, 'w1');
    expect(await due(101)).toEqual([id]);
    expect(await backlog(101)).toEqual({ pending: 1, oldestDueAt: 100 });
    expect((await log('h1'))[0]).toMatchObject({ status: 'pending', attempts: [], tries: 0, nextAttemptAt: 100 });
    expect(await settle(id!, 102)).toBe(false);
    await deliver(id!, 103);
    await ledgerOf().giveBackDelivery(id!, 'w1');
    await ledgerOf().giveBackDelivery('none', 'w1');
    expect(await due(999)).toEqual([]);
    expect((await log('h1'))[0]).toMatchObject({ status: 'delivered', tries: 1 });
  });

  test('a delivery is tried again when it is due, and its last twenty attempts are kept', async () => {
    await add('h1');
    const [id] = await send('m1');
    const attempts: DeliveryAttempt[] = [];
    for (let n = 0; n < 25; n++) {
      const at = 100 + n * 10;
      const one = attempt(at, n % 2 === 0 ? { status: 503 } : { status: null, error: 'webhook_timeout', durationMs: n });
      attempts.push(one);
      await deliver(id!, at, { attempt: one, outcome: { status: 'pending', nextAttemptAt: at + 10 } });
      expect(await take(id!, at + 9)).toBeNull();
      expect(await due(at + 9)).toEqual([]);
      expect(await due(at + 10)).toEqual([id]);
    }
    expect((await log('h1'))[0]).toMatchObject({ status: 'pending', nextAttemptAt: 350, attempts: attempts.slice(5), tries: 25 });
    await deliver(id!, 350, { outcome: { status: 'failed' } });
    const settled = (await log('h1'))[0];
    expect(settled).toMatchObject({ status: 'failed', nextAttemptAt: null, tries: 26 });
    expect(settled?.attempts).toEqual([...attempts.slice(6), attempt(350)]);
  });

  test('a webhook is failing since the first of its failures, until one succeeds', async () => {
    await add('h1');
    const since = async () => (await ledgerOf().getWebhook('t', 'h1'))?.failingSince;
    const [a] = await send('m1');
    const [b] = await send('m2');
    await deliver(a!, 110, { outcome: { status: 'pending', nextAttemptAt: 120 } });
    expect(await since()).toBe(110);
    await deliver(b!, 115, { outcome: { status: 'failed' } });
    expect(await since()).toBe(110);
    await deliver(a!, 120);
    expect(await since()).toBeNull();
    const [c] = await send('m3');
    await deliver(c!, 130, { outcome: { status: 'failed' } });
    expect(await since()).toBe(130);
  });

  test('a delivery that disables its webhook does so in one step, and what is pending waits until it is enabled', async () => {
    const ledger = ledgerOf();
    await add('h1');
    await add('h2', { createdAt: 2 });
    const [a1, a2] = (await send('m1')).toSorted();
    const [b1, b2] = (await send('m2', { at: 101 })).toSorted();
    const [c1] = (await send('m3', { at: 102 })).toSorted();
    await take(b1!, 103, 'w2', 500);
    await deliver(c1!, 103, { outcome: { status: 'pending', nextAttemptAt: 900 } });
    await deliver(a1!, 105, { outcome: { status: 'pending', nextAttemptAt: 110 }, disable: 'failing' });
    expect(await ledger.getWebhook('t', 'h1')).toMatchObject({ disabledBecause: 'failing', failingSince: 103, updatedAt: 105 });
    expect(await send('m4', { at: 106 })).toEqual([deliveryId('m4', 'h2')]);
    expect(await due(999)).toEqual([a2, b2, deliveryId('m3', 'h2'), deliveryId('m4', 'h2')]);
    expect(await backlog(999)).toEqual({ pending: 4, oldestDueAt: 100 });
    expect(await take(a1!, 999)).toBeNull();
    // What was being sent then still comes to its end, and what disabled the webhook first stands.
    expect(await settle(b1!, 107, { outcome: { status: 'pending', nextAttemptAt: 108 }, disable: 'gone' }, 'w2')).toBe(true);
    expect((await ledger.getWebhook('t', 'h1'))?.disabledBecause).toBe('failing');
    expect(await take(b1!, 999)).toBeNull();
    expect((await log('h1', 'pending')).map(({ nextAttemptAt }) => nextAttemptAt)).toEqual([900, 108, 110]);

    await ledger.changeWebhook('t', 'h1', { disabledBecause: null }, 400);
    expect(await ledger.getWebhook('t', 'h1')).toMatchObject({ disabledBecause: null, failingSince: null, updatedAt: 400 });
    expect((await log('h1', 'pending')).map(({ nextAttemptAt }) => nextAttemptAt)).toEqual([400, 400, 400]);
    expect(await due(399)).not.toContain(a1);
    expect(new Set(await due(400))).toEqual(new Set([a1, a2, b1, b2, c1, deliveryId('m3', 'h2'), deliveryId('m4', 'h2')]));
    await deliver(a1!, 400);
    expect((await log('h1'))[2]).toMatchObject({ messageId: 'm1', status: 'delivered', sequence: 1, tries: 2 });
  });

  test('a webhook that its tenant disables is left alone, by a worker that takes its delivery too', async () => {
    await add('h1');
    const [id] = await send('m1');
    await ledgerOf().changeWebhook('t', 'h1', { disabledBecause: 'user' }, 90);
    expect(await due(100)).toEqual([]);
    expect(await backlog(100)).toEqual({ pending: 0, oldestDueAt: null });
    expect(await take(id!)).toBeNull();
    expect((await log('h1'))[0]).toMatchObject({ status: 'pending', nextAttemptAt: 100 });
    // Another change leaves it so.
    await ledgerOf().changeWebhook('t', 'h1', { description: 'd' }, 95);
    expect(await take(id!)).toBeNull();
    await ledgerOf().changeWebhook('t', 'h1', { disabledBecause: null }, 120);
    expect(await take(id!, 119)).toBeNull();
    expect(await take(id!, 120)).not.toBeNull();
  });

  test('the secrets that sign are those that have not expired, newest first, and the address is that of now', async () => {
    await add('h1', { secrets: [{ secret: 'whsec_a', expiresAt: null }] });
    const [id] = await send('m1');
    const secrets = [
      { secret: 'whsec_c', expiresAt: null },
      { secret: 'whsec_b', expiresAt: 200 },
      { secret: 'whsec_a', expiresAt: 150 },
    ];
    await ledgerOf().changeWebhook('t', 'h1', { secrets, url: 'https://example.com/moved' }, 100);
    const at = async (time: number) => (await take(id!, time, `w${time}`))?.to;
    expect(await at(100)).toEqual({ url: 'https://example.com/moved', secrets: ['whsec_c', 'whsec_b', 'whsec_a'] });
    expect((await at(150))?.secrets).toEqual(['whsec_c', 'whsec_b']);
    expect((await at(200))?.secrets).toEqual(['whsec_c']);
  });

  test('due are those whose time has come and that nobody has, the one due longest first, of all tenants', async () => {
    await add('h1');
    await add('u1', { tenant: 'u' });
    const [a] = await send('m1', { at: 103 });
    const [b] = await send('m2', { at: 101, tenant: 'u' });
    const [c] = await send('m3', { at: 102 });
    const [d] = await send('m4', { at: 100 });
    await take(d!, 100, 'w1', 50);
    expect(await ledgerOf().dueDeliveries({ at: 102, limit: 9 })).toEqual([
      { tenant: 'u', deliveryId: b },
      { tenant: 't', deliveryId: c },
    ]);
    expect(await due(103, 2)).toEqual([b, c]);
    expect(await due(150)).toEqual([d, b, c, a]);
    expect(await backlog(102)).toEqual({ pending: 4, oldestDueAt: 100 });
    expect(await backlog(99)).toEqual({ pending: 4, oldestDueAt: null });
    await deliver(b!, 150);
    await deliver(d!, 150, { outcome: { status: 'failed' } });
    expect(await due(200)).toEqual([c, a]);
    expect(await backlog(200)).toEqual({ pending: 2, oldestDueAt: 102 });
  });

  test("a webhook's deliveries are listed newest first, by status and page by page, each tenant its own", async () => {
    await add('h1');
    await add('h2', { events: ['answer.stale'] });
    for (let n = 0; n < 5; n++) await send(`m${n}`, { at: 100 + Math.floor(n / 2) });
    await send('other', { type: 'answer.stale' });
    await deliver(deliveryId('m1', 'h1'), 110);
    const page = async (options: Parameters<Ledger['listDeliveries']>[2]) => {
      const { deliveries, nextCursor } = await ledgerOf().listDeliveries('t', 'h1', options);
      return { ids: deliveries.map(({ messageId }) => messageId), nextCursor };
    };
    expect(await page({ limit: 5 })).toEqual({ ids: ['m4', 'm3', 'm2', 'm1', 'm0'], nextCursor: null });
    const first = await page({ limit: 2 });
    expect(first).toEqual({ ids: ['m4', 'm3'], nextCursor: expect.any(String) });
    await send('m5', { at: 105 });
    const second = await page({ limit: 2, after: first.nextCursor! });
    expect(second.ids).toEqual(['m2', 'm1']);
    expect(await page({ limit: 2, after: second.nextCursor! })).toEqual({ ids: ['m0'], nextCursor: null });
    expect(await page({ status: 'delivered', limit: 9 })).toEqual({ ids: ['m1'], nextCursor: null });
    const pending = await page({ status: 'pending', limit: 3 });
    expect(pending.ids).toEqual(['m5', 'm4', 'm3']);
    expect(await page({ status: 'pending', limit: 3, after: pending.nextCursor! })).toEqual({
      ids: ['m2', 'm0'],
      nextCursor: null,
    });
    expect(await log('h1', undefined, 'u')).toEqual([]);
    expect(await log('none')).toEqual([]);
    await expect(page({ limit: 9, after: 'none of ours' })).rejects.toMatchObject({ code: 'request_invalid' });
  });

  test('the deliveries of a deleted webhook are dropped, and stay to be seen', async () => {
    const ledger = ledgerOf();
    await add('h1');
    await add('h2', { createdAt: 2 });
    await send('m1');
    await send('m2', { at: 101 });
    await send('m3', { at: 102 });
    await deliver(deliveryId('m1', 'h1'), 105);
    await take(deliveryId('m2', 'h1'), 105);
    expect(await ledger.deleteWebhook('u', 'h1', 110)).toBe(false);
    expect(await ledger.deleteWebhook('t', 'h1', 110)).toBe(true);
    expect(await ledger.deleteWebhook('t', 'h1', 110)).toBe(false);
    expect(await ledger.getWebhook('t', 'h1')).toBeNull();
    expect((await log('h1')).map(({ status, nextAttemptAt }) => [status, nextAttemptAt])).toEqual([
      ['dropped', null],
      ['dropped', null],
      ['delivered', null],
    ]);
    expect(await settle(deliveryId('m2', 'h1'), 111)).toBe(false);
    expect(await take(deliveryId('m3', 'h1'), 999)).toBeNull();
    expect(await ledger.replayDeliveries('t', 'h1', { deliveryId: deliveryId('m3', 'h1') }, 999)).toEqual([]);
    expect(await due(999)).toEqual(['m1', 'm2', 'm3'].map((message) => deliveryId(message, 'h2')));
    expect(await backlog(999)).toEqual({ pending: 3, oldestDueAt: 100 });
    expect(await send('m4', { at: 120 })).toEqual([deliveryId('m4', 'h2')]);
  });

  test('one delivery is replayed under its id and sequence, and one that is pending stays as it is', async () => {
    const ledger = ledgerOf();
    await add('h1');
    await add('h2', { createdAt: 2, events: ['answer.stale'] });
    const [id] = await send('m1');
    const replay = (tenant: string, webhookId: string, delivery: string, at: number) =>
      ledger.replayDeliveries(tenant, webhookId, { deliveryId: delivery }, at);
    await take(id!, 100, 'w9');
    expect(await replay('t', 'h1', id!, 120)).toEqual([]);
    expect((await log('h1'))[0]).toMatchObject({ nextAttemptAt: 100 });
    expect(await settle(id!, 130, { outcome: { status: 'failed' } }, 'w9')).toBe(true);
    expect(await replay('u', 'h1', id!, 140)).toEqual([]);
    expect(await replay('t', 'h2', id!, 140)).toEqual([]);
    expect(await replay('t', 'h1', 'none', 140)).toEqual([]);
    expect(await replay('t', 'h1', id!, 140)).toEqual([id]);
    expect((await log('h1'))[0]).toMatchObject({
      deliveryId: id,
      sequence: 1,
      status: 'pending',
      nextAttemptAt: 140,
      attempts: [attempt(130)],
      tries: 0,
      createdAt: 100,
    });
    expect(await due(139)).toEqual([]);
    await deliver(id!, 140);
    expect((await log('h1'))[0]).toMatchObject({ status: 'delivered', attempts: [attempt(130), attempt(140)], tries: 1 });
    // What was delivered may be sent again too; while the webhook is disabled it waits.
    await ledger.changeWebhook('t', 'h1', { disabledBecause: 'user' }, 150);
    expect(await replay('t', 'h1', id!, 160)).toEqual([id]);
    expect(await due(999)).toEqual([]);
    await ledger.changeWebhook('t', 'h1', { disabledBecause: null }, 170);
    expect(await due(170)).toEqual([id]);
    expect((await send('m2', { at: 180 })).length).toBe(1);
    expect((await log('h1'))[0]).toMatchObject({ messageId: 'm2', sequence: 2 });
  });

  test('a range is replayed oldest first, by status and in steps, and what is pending in it stays as it is', async () => {
    await add('h1');
    await add('h2', { createdAt: 2 });
    const id = (n: number) => deliveryId(`m${n}`, 'h1');
    for (let n = 0; n < 8; n++) await send(`m${n}`, { at: 100 + n });
    for (const n of [0, 1, 2, 4, 6, 7]) await deliver(id(n), 200, { outcome: { status: 'failed' } });
    await deliver(id(3), 200);
    await deliver(deliveryId('m1', 'h2'), 200, { outcome: { status: 'failed' } });
    const replay = (statuses: Delivery['status'][], limit: number, tenant = 't') =>
      ledgerOf().replayDeliveries(tenant, 'h1', { since: 101, until: 106, statuses, limit }, 300);
    expect(await replay(['failed'], 9, 'u')).toEqual([]);
    expect(await replay([], 9)).toEqual([]);
    expect(await replay(['failed'], 2)).toEqual([id(1), id(2)]);
    expect(await replay(['failed', 'delivered', 'pending'], 9)).toEqual([id(3), id(4), id(6)]);
    expect(await replay(['failed', 'delivered', 'pending'], 9)).toEqual([]);
    expect((await log('h1', 'failed')).map(({ messageId }) => messageId)).toEqual(['m7', 'm0']);
    expect(
      (await log('h1', 'pending')).map(({ messageId, nextAttemptAt, sequence }) => [messageId, nextAttemptAt, sequence]),
    ).toEqual([
      ['m6', 300, 7],
      ['m5', 105, 6],
      ['m4', 300, 5],
      ['m3', 300, 4],
      ['m2', 300, 3],
      ['m1', 300, 2],
    ]);
    expect(await log('h2', 'failed')).toHaveLength(1);
  });

  test('what is settled and published is pruned step by step, and nothing that is owed', async () => {
    const ledger = ledgerOf();
    await add('h1');
    await add('h2', { createdAt: 2, events: ['answer.stale'] });
    await add('h3', { createdAt: 3, events: ['answer.stale'] });
    const ids = ['m0', 'm1', 'm2', 'm3'];
    for (const [n, message] of ids.entries()) {
      await send(message, { at: 100 + n });
      await deliver(deliveryId(message, 'h1'), 200, n === 1 ? { outcome: { status: 'failed' } } : {});
    }
    await send('unpublished', { at: 90, to: { webhookId: 'none' } });
    await send('owed', { at: 91, type: 'answer.stale' });
    await deliver(deliveryId('owed', 'h3'), 200);
    await send('to-nobody', { at: 92, event: null, to: { webhookId: 'none' } });
    await ledger.settlePublished([...ids, 'owed']);
    expect(await ledger.pruneMessages({ before: 90, limit: 9 })).toBe(0);
    expect(await ledger.pruneMessages({ before: 103, limit: 2 })).toBeLessThanOrEqual(2);
    for (let step = 0; step < 4; step++) await ledger.pruneMessages({ before: 103, limit: 2 });
    expect(await ledger.pruneMessages({ before: 103, limit: 2 })).toBe(0);
    expect((await log('h1')).map(({ messageId }) => messageId)).toEqual(['m3']);
    // Owed to one webhook, settled at another.
    expect((await log('h2')).map(({ messageId }) => messageId)).toEqual(['owed']);
    expect(await log('h3')).toEqual([]);
    expect(await unpublished()).toEqual(['unpublished']);
    expect((await take(deliveryId('owed', 'h2'), 300))?.message.data).toBe('{"of":"owed"}');
    expect(await settle(deliveryId('owed', 'h2'), 300)).toBe(true);
    await ledger.settlePublished(['unpublished']);
    expect(await ledger.pruneMessages({ before: 103, limit: 9 })).toBe(2);
    expect(await log('h2')).toEqual([]);
    // What is not kept is not replayed, and sequences go on.
    expect(await ledger.replayDeliveries('t', 'h1', { since: 0, until: 999, statuses: ['delivered'], limit: 9 }, 400)).toEqual([
      deliveryId('m3', 'h1'),
    ]);
    await send('m9', { at: 400 });
    expect((await log('h1'))[0]?.sequence).toBe(5);
    expect(await ledger.pruneMessages({ before: 999, limit: 9 })).toBe(0);
  });

  test('what is dropped with its webhook or replayed is pruned when it is settled, and not before', async () => {
    const ledger = ledgerOf();
    await add('h1');
    await send('m1', { event: null });
    await send('m2', { event: null });
    await deliver(deliveryId('m1', 'h1'), 110);
    await ledger.replayDeliveries('t', 'h1', { deliveryId: deliveryId('m1', 'h1') }, 120);
    expect(await ledger.pruneMessages({ before: 999, limit: 9 })).toBe(0);
    await ledger.deleteWebhook('t', 'h1', 130);
    expect(await ledger.pruneMessages({ before: 999, limit: 9 })).toBe(2);
    expect(await log('h1')).toEqual([]);
  });

  test("a tenant's webhooks and all that was to be told go with it, or those from before a time", async () => {
    const ledger = ledgerOf();
    await add('h1', { createdAt: 5 });
    await add('h2', { createdAt: 150 });
    await add('u1', { tenant: 'u' });
    await send('m1', { at: 100 });
    await send('m2', { at: 200 });
    await send('own', { at: 100, to: { url: 'https://example.com', secret: 'whsec_x' } });
    await send('m3', { at: 100, tenant: 'u' });
    await take(deliveryId('m1', 'h2'), 100);
    await ledger.deleteTenant('t', { createdUpTo: 149 });
    expect((await ledger.listWebhooks('t')).map(({ webhookId }) => webhookId)).toEqual(['h2']);
    expect(await unpublished()).toEqual(['m3', 'm2']);
    expect((await log('h1')).map(({ messageId, status }) => [messageId, status])).toEqual([['m2', 'dropped']]);
    expect((await log('h2')).map(({ messageId, status }) => [messageId, status])).toEqual([['m2', 'pending']]);
    expect(await settle(deliveryId('m1', 'h2'), 210)).toBe(false);
    expect(await take(deliveryId('own', null), 300)).toBeNull();
    expect(await due(300)).toEqual([deliveryId('m3', 'u1'), deliveryId('m2', 'h2')]);
    await ledger.deleteTenant('t');
    expect(await ledger.listWebhooks('t')).toEqual([]);
    expect([...(await log('h1')), ...(await log('h2'))]).toEqual([]);
    expect(await unpublished()).toEqual(['m3']);
    expect(await due(300)).toEqual([deliveryId('m3', 'u1')]);
    expect(await backlog(300)).toEqual({ pending: 1, oldestDueAt: 100 });
    expect(await ledger.getWebhook('u', 'u1')).not.toBeNull();
    expect((await take(deliveryId('m3', 'u1'), 300))?.to.secrets).toEqual(['whsec_u1']);
  });

  test('whatever is sent, lost, disabled, enabled and replayed: each message is delivered to each webhook in the end', async () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ do: fc.constant('send' as const) }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('work' as const), come: fc.constantFrom('well', 'badly', 'never') }) },
      fc.record({ do: fc.constantFrom('disable' as const, 'enable' as const, 'replay' as const), of: fc.constantFrom('a', 'b') }),
    );
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
        const ledger = ledgerOf();
        const tenant = `run-${run++}`;
        const name = (one: string): string => `${tenant}-${one}`;
        const hooks = ['a', 'b'].map(name);
        const enabled = new Set(hooks);
        const owed = new Map<string, number>(hooks.map((hook) => [hook, 0]));
        const heard = new Set<string>();
        let at = 1_000;
        for (const webhookId of hooks) await ledger.addWebhook(newWebhook(webhookId, { tenant }), 9);
        const work = async (come: string, limit: number): Promise<void> => {
          const mine = (await ledger.dueDeliveries({ at, limit: 999 })).filter((one) => one.tenant === tenant).slice(0, limit);
          for (const { deliveryId: id } of mine) {
            const token = `${at}`;
            const taken = await ledger.takeDelivery(id, { token, claimMs: 100, at });
            expect(enabled.has(taken!.delivery.webhookId!)).toBe(true);
            if (come === 'never') continue;
            if (come === 'well') heard.add(id);
            const outcome =
              come === 'well' ? ({ status: 'delivered' } as const) : ({ status: 'pending', nextAttemptAt: at + 30 } as const);
            expect(await ledger.settleDelivery(id, token, { attempt: attempt(at), outcome })).toBe(true);
          }
        };
        for (const [n, one] of steps.entries()) {
          at += 10;
          if (one.do === 'send') {
            await ledger.addMessages([newMessage(`${tenant}-m${n}`, { tenant, at })]);
            for (const hook of enabled) owed.set(hook, owed.get(hook)! + 1);
          } else if (one.do === 'work') {
            await work(one.come, 2);
          } else if (one.do === 'replay') {
            const which = { since: 0, until: at, statuses: ['delivered', 'failed'] as Delivery['status'][], limit: 2 };
            for (const id of await ledger.replayDeliveries(tenant, name(one.of), which, at)) heard.delete(id);
          } else {
            const disabledBecause = one.do === 'disable' ? 'user' : null;
            await ledger.changeWebhook(tenant, name(one.of), { disabledBecause }, at);
            if (disabledBecause) enabled.delete(name(one.of));
            else enabled.add(name(one.of));
          }
        }
        for (const hook of hooks) {
          enabled.add(hook);
          await ledger.changeWebhook(tenant, hook, { disabledBecause: null }, at);
        }
        for (let round = 0; round < 3; round++) {
          at += 100;
          await work('well', 999);
        }
        for (const hook of hooks) {
          const { deliveries } = await ledger.listDeliveries(tenant, hook, { limit: 999 });
          expect(deliveries.map(({ sequence }) => sequence)).toEqual(
            Array.from({ length: owed.get(hook)! }, (_, n) => owed.get(hook)! - n),
          );
          for (const { deliveryId: id, status } of deliveries) expect([status, heard.has(id)]).toEqual(['delivered', true]);
        }
      }),
      { numRuns: 20 },
    );
  });
}
