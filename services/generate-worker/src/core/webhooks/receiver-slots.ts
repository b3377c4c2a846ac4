export interface DeliveryRef {
  tenant: string;
  deliveryId: string;
}

interface Receiver {
  inFlight: number;
  /** The last attempt did not succeed: it gets one at a time until one does. */
  isAiling: boolean;
  /** Deliveries that found no slot, in the order they came. */
  line: Map<string, DeliveryRef>;
}

/** Ids only; what does not fit is found by the sweep. */
const MAX_IN_LINE = 10_000;
/** Receivers that ail; more are soon found out again. */
const MAX_REMEMBERED = 10_000;

/**
 * How many deliveries one receiver (a tenant's host) may have in flight in this process, so that one that is slow, or hangs, does not
 * take all the slots. Who gets none stands in the receiver's line until one is free.
 */
export class ReceiverSlots {
  readonly #receivers = new Map<string, Receiver>();
  readonly #perReceiver: number;
  #inLine = 0;

  constructor(perReceiver: number) {
    this.#perReceiver = perReceiver;
  }

  /** How many stand in lines. */
  get inLine(): number {
    return this.#inLine;
  }

  /** Whether there is a slot, which then is taken; else the delivery stands in line. */
  take(name: string, delivery: DeliveryRef): boolean {
    const receiver = this.#receivers.get(name) ?? { inFlight: 0, isAiling: false, line: new Map() };
    this.#receivers.set(name, receiver);
    this.#leave(receiver, delivery.deliveryId);
    if (receiver.inFlight < this.#limitOf(receiver)) {
      receiver.inFlight += 1;
      return true;
    }
    if (this.#inLine < MAX_IN_LINE) {
      receiver.line.set(delivery.deliveryId, delivery);
      this.#inLine += 1;
    }
    return false;
  }

  /** Gives a slot back; `isWell` null where nothing was learnt of the receiver. Answers whose turn it is now; they are in line no more. */
  release(name: string, isWell: boolean | null): DeliveryRef[] {
    const receiver = this.#receivers.get(name);
    if (!receiver) return [];
    receiver.inFlight -= 1;
    if (isWell !== null) receiver.isAiling = !isWell;
    const next = [...receiver.line.values()].slice(0, this.#limitOf(receiver) - receiver.inFlight);
    for (const { deliveryId } of next) this.#leave(receiver, deliveryId);
    const isForgotten = !receiver.isAiling || this.#receivers.size > MAX_REMEMBERED;
    if (receiver.inFlight === 0 && receiver.line.size === 0 && isForgotten) this.#receivers.delete(name);
    return next;
  }

  /** Whether a slot that is taken now will call it, when that is given back. */
  isCalled(deliveryId: string): boolean {
    return [...this.#receivers.values()].some(({ inFlight, line }) => inFlight > 0 && line.has(deliveryId));
  }

  #limitOf({ isAiling }: Receiver): number {
    return isAiling ? 1 : this.#perReceiver;
  }

  #leave({ line }: Receiver, deliveryId: string): void {
    if (line.delete(deliveryId)) this.#inLine -= 1;
  }
}
