export interface DeliveryRef {
  tenant: string;
  deliveryId: string;
}

interface Receiver {
  readonly name: string;
  readonly tenant: string;
  inFlight: number;
  /** The last attempt did not succeed: it gets one at a time until one does. */
  isAiling: boolean;
  /** Deliveries that found no slot, in the order they came. */
  line: Map<string, DeliveryRef>;
}

interface Tenant {
  inFlight: number;
  /** Who was served longest ago comes first. */
  receivers: Set<Receiver>;
}

/** Ids only; what does not fit is found by the sweep. */
const MAX_IN_LINE = 10_000;
/** Receivers that ail; more are soon found out again. */
const MAX_REMEMBERED = 10_000;

/**
 * How many deliveries one receiver (a tenant's host), and all of a tenant, may have in flight in this process, so that one that is slow,
 * or hangs, does not take all the slots, nor a tenant that names a hundred such hosts. Who gets none stands in the receiver's line until
 * one is free.
 */
export class ReceiverSlots {
  readonly #receivers = new Map<string, Receiver>();
  readonly #tenants = new Map<string, Tenant>();
  /** In whose line a delivery stands. */
  readonly #standing = new Map<string, Receiver>();
  readonly #perReceiver: number;
  readonly #perTenant: number;

  constructor(perReceiver: number, perTenant = Infinity) {
    this.#perReceiver = perReceiver;
    this.#perTenant = perTenant;
  }

  /** How many stand in lines. */
  get inLine(): number {
    return this.#standing.size;
  }

  /** Whether there is a slot, which then is taken; else the delivery stands in line. */
  take(name: string, delivery: DeliveryRef): boolean {
    const { receiver, tenant } = this.#known(name, delivery.tenant);
    this.#leave(delivery.deliveryId);
    if (receiver.inFlight < this.#limitOf(receiver) && tenant.inFlight < this.#perTenant) {
      receiver.inFlight += 1;
      tenant.inFlight += 1;
      return true;
    }
    if (this.inLine < MAX_IN_LINE) {
      receiver.line.set(delivery.deliveryId, delivery);
      this.#standing.set(delivery.deliveryId, receiver);
    }
    this.#forgetIdle(receiver);
    return false;
  }

  /** Gives a slot back; `isWell` null where nothing was learnt of the receiver. Answers whose turn it is now; they are in line no more. */
  release(name: string, isWell: boolean | null): DeliveryRef[] {
    const receiver = this.#receivers.get(name);
    const tenant = receiver && this.#tenants.get(receiver.tenant);
    if (!receiver || !tenant) return [];
    receiver.inFlight -= 1;
    tenant.inFlight -= 1;
    if (isWell !== null) receiver.isAiling = !isWell;
    tenant.receivers.delete(receiver);
    tenant.receivers.add(receiver);
    const next = this.#turns(tenant);
    this.#forgetIdle(receiver);
    return next;
  }

  /** Whether a slot that is taken now will call it, when that is given back. */
  isCalled(deliveryId: string): boolean {
    const receiver = this.#standing.get(deliveryId);
    return receiver !== undefined && (this.#tenants.get(receiver.tenant)?.inFlight ?? 0) > 0;
  }

  /** One of each receiver that has room, around and around, while the tenant has. */
  #turns(tenant: Tenant): DeliveryRef[] {
    const next: DeliveryRef[] = [];
    const waiting = [...tenant.receivers].filter(({ line }) => line.size > 0);
    const free = new Map(waiting.map((receiver) => [receiver, this.#limitOf(receiver) - receiver.inFlight]));
    const room = this.#perTenant - tenant.inFlight;
    for (let before = -1; before < next.length && next.length < room;) {
      before = next.length;
      for (const [receiver, slots] of free) {
        const [delivery] = slots > 0 ? receiver.line.values() : [];
        if (!delivery) free.delete(receiver);
        if (!delivery || next.length >= room) continue;
        free.set(receiver, slots - 1);
        this.#leave(delivery.deliveryId);
        next.push(delivery);
        this.#forgetIdle(receiver);
      }
    }
    return next;
  }

  #limitOf({ isAiling }: Receiver): number {
    return isAiling ? 1 : this.#perReceiver;
  }

  #known(name: string, tenantName: string): { receiver: Receiver; tenant: Tenant } {
    const tenant = this.#tenants.get(tenantName) ?? { inFlight: 0, receivers: new Set() };
    this.#tenants.set(tenantName, tenant);
    const receiver = this.#receivers.get(name) ?? { name, tenant: tenantName, inFlight: 0, isAiling: false, line: new Map() };
    this.#receivers.set(name, receiver);
    tenant.receivers.add(receiver);
    return { receiver, tenant };
  }

  #leave(deliveryId: string): void {
    const receiver = this.#standing.get(deliveryId);
    this.#standing.delete(deliveryId);
    receiver?.line.delete(deliveryId);
  }

  #forgetIdle(receiver: Receiver): void {
    const isRemembered = receiver.isAiling && this.#receivers.size <= MAX_REMEMBERED;
    if (receiver.inFlight > 0 || receiver.line.size > 0 || isRemembered) return;
    this.#receivers.delete(receiver.name);
    const tenant = this.#tenants.get(receiver.tenant);
    tenant?.receivers.delete(receiver);
    if (tenant?.receivers.size === 0) this.#tenants.delete(receiver.tenant);
  }
}
