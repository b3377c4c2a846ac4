import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openGuardedHttpClient } from '@sightline/shared/adapters/guarded-http-client';
import { SqliteLedger } from '@sightline/shared/adapters/sqlite-ledger';
import { newId } from '@sightline/shared/contracts/ids';
import { DELIVERY_DELAYS_MS } from '@sightline/shared/contracts/webhooks';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { Delivery, OutboxMessage, Webhook } from '@sightline/shared/ports/webhook-ledger';
import { ReceiverSlots, type DeliveryRef } from '../core/webhooks/receiver-slots.ts';
import { sendDelivery, type SendDeps, type Sent } from '../core/webhooks/send-delivery.ts';

const SECRET_OF_RIG = `whsec_${Buffer.from('a secret of thirty-two bytes len').toString('base64')}`;

/**
 * The sender's real code over a real ledger and the real guarded client, sent one by one in place of the queue; its clock stands until
 * a test moves it.
 */
export class DeliveryRig {
  readonly ledger: Ledger;
  readonly secret = SECRET_OF_RIG;
  readonly slots = new ReceiverSlots(4);
  readonly driven: DeliveryRef[] = [];
  readonly #http;
  readonly #folder: string;
  #at: number;

  private constructor(folder: string, ledger: Ledger, at: number, http: ReturnType<typeof openGuardedHttpClient>) {
    this.#folder = folder;
    this.ledger = ledger;
    this.#at = at;
    this.#http = http;
  }

  static async open(): Promise<DeliveryRig> {
    const folder = await mkdtemp(join(tmpdir(), 'sightline-webhooks-'));
    const ledger = await SqliteLedger.open({ file: join(folder, 'ledger.db') });
    const http = openGuardedHttpClient({ allowHttp: true, allowAddresses: ['127.0.0.1'] });
    return new DeliveryRig(folder, ledger, Date.now(), http);
  }

  now = (): number => this.#at;

  pass(ms: number): void {
    this.#at += ms;
  }

  async addWebhook(url: string, more: Partial<Webhook> = {}): Promise<Webhook> {
    const at = this.#at;
    const webhook: Webhook = {
      webhookId: newId(),
      tenant: 't',
      url,
      description: '',
      events: ['question.answered', 'question.failed'],
      secrets: [{ secret: this.secret, expiresAt: null }],
      disabledBecause: null,
      createdAt: at,
      updatedAt: at,
      failingSince: null,
      ...more,
    };
    await this.ledger.addWebhook(webhook, 50);
    return webhook;
  }

  /** Adds a message to the outbox; answers its deliveries' ids. */
  async tell(subject: string, more: Partial<OutboxMessage> = {}): Promise<string[]> {
    const message: OutboxMessage = {
      messageId: newId(),
      tenant: 't',
      type: 'question.answered',
      subject,
      at: this.#at,
      data: JSON.stringify({ question_id: subject, status: 'answered', answer: 'AM4 [1].' }),
      event: null,
      to: null,
      ...more,
    };
    return this.ledger.addMessages([message]);
  }

  send(deliveryId: string, deps: Partial<SendDeps> = {}, signal = new AbortController().signal): Promise<Sent> {
    return sendDelivery({ ...this.deps(), ...deps }, { tenant: 't', deliveryId }, signal);
  }

  /** Everything that is due, in turn; answers what came of each. */
  async sendDue(deps: Partial<SendDeps> = {}): Promise<Sent['outcome'][]> {
    const outcomes: Sent['outcome'][] = [];
    for (const { deliveryId } of await this.ledger.dueDeliveries({ at: this.#at, limit: 1_000 }))
      outcomes.push((await this.send(deliveryId, deps)).outcome);
    return outcomes;
  }

  async log({ webhookId }: Webhook): Promise<Delivery[]> {
    return (await this.ledger.listDeliveries('t', webhookId, { limit: 1_000 })).deliveries;
  }

  async webhook({ webhookId }: Webhook): Promise<Webhook | null> {
    return this.ledger.getWebhook('t', webhookId);
  }

  async close(): Promise<void> {
    await this.#http.close();
    await this.ledger.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  deps(): SendDeps {
    return {
      ledger: this.ledger,
      http: this.#http,
      slots: this.slots,
      drive: async (deliveries) => void this.driven.push(...deliveries),
      now: this.now,
      random: () => 0,
      newToken: newId,
      timeoutMs: 5_000,
      delaysMs: DELIVERY_DELAYS_MS,
      claimMs: 45_000,
    };
  }
}
