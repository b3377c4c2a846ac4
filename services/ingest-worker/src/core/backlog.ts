import type { Ledger } from '@sightline/shared/ports/ledger';

export interface BacklogLimits {
  /** Chunks of one tenant that may be owed. */
  perTenantChunks: number;
  /** Of all tenants together; a tenant with next to nothing may plan a few beyond it. */
  totalChunks: number;
}

export interface Room {
  /** Chunks that may be added now. */
  chunks: number;
  /** Chunks of the tenant that are owed and can be worked. */
  owed: number;
}

/** A tenant that owes less than this part of its limit is not kept from planning by what others owe. */
const FLOOR_PART = 16;
const HELD_LIMIT = 1_000;

/**
 * What may be planned before what is planned must be worked: it bounds what lies in queue and ledger, whatever a source's size.
 * Chunks of held ingestions do not count: what nobody works must not keep the tenant's other ingestions waiting.
 */
export class Backlog {
  readonly #ledger: Pick<Ledger, 'countOutstandingChunks' | 'listIngestions'>;
  readonly #limits: BacklogLimits;

  constructor(ledger: Pick<Ledger, 'countOutstandingChunks' | 'listIngestions'>, limits: BacklogLimits) {
    this.#ledger = ledger;
    this.#limits = limits;
  }

  async room(tenant: string): Promise<Room> {
    const [held, ofTenant, all] = await Promise.all([
      this.#held(),
      this.#ledger.countOutstandingChunks({ tenant }),
      this.#ledger.countOutstandingChunks(),
    ]);
    const heldInAll = [...held.values()].reduce((sum, chunks) => sum + chunks, 0);
    const owed = Math.max(0, ofTenant - (held.get(tenant) ?? 0));
    const { perTenantChunks, totalChunks } = this.#limits;
    const shared = Math.max(totalChunks - Math.max(0, all - heldInAll), this.#floor() - owed);
    return { chunks: Math.max(0, Math.min(perTenantChunks - owed, shared)), owed };
  }

  /**
   * Whether planning that stood still may go on. Well below the mark at which it stops: beginning again costs a listing, or a reading
   * of the manifest.
   */
  async mayGoOn(tenant: string): Promise<boolean> {
    const { chunks, owed } = await this.room(tenant);
    return owed <= this.#limits.perTenantChunks / 2 && chunks >= Math.ceil(this.#floor() / 2);
  }

  /** Chunks of held ingestions, by tenant. */
  async #held(): Promise<Map<string, number>> {
    const paused = await this.#ledger.listIngestions(null, { statuses: ['paused'], limit: HELD_LIMIT });
    const byTenant = new Map<string, number>();
    for (const { tenant, ingestionId, hold } of paused) {
      if (!hold) continue;
      const chunks = await this.#ledger.countOutstandingChunks({ ingestionId });
      byTenant.set(tenant, (byTenant.get(tenant) ?? 0) + chunks);
    }
    return byTenant;
  }

  #floor(): number {
    return Math.max(1, Math.floor(this.#limits.perTenantChunks / FLOOR_PART));
  }
}
