import { createSecureContext } from 'node:tls';
import { buildConnector } from 'undici';
import { SightlineError } from '../runtime/errors.ts';
import { guardedConnector } from './guarded-connector.ts';
import { exchange, faultOf, outgoingHeaders, type Exchange, type ExchangeAnswer } from './guarded-exchange.ts';
import { dnsResolver, resolveByDns, resolveBySystem, type ResolveName } from './guarded-lookup.ts';
import { GuardedSlots } from './guarded-slots.ts';
import { egressPolicy, judge, type EgressOptions, type JudgedUrl } from './guarded-url.ts';

export interface GuardedHttpOptions extends EgressOptions {
  /** All addresses of a name. Default: DNS, and the machine's own way for names that `allowAddresses` has. */
  lookup?: ResolveName;
  /** What makes undici's connectors. Default: undici. */
  connect?: typeof buildConnector;
  /** Certificates (PEM) to trust instead of the system's. */
  ca?: string;
  /** Requests under way at once; more wait for their turn. Default: 64, and 8 to one host. */
  maxRequests?: number;
  maxRequestsOfHost?: number;
}

export interface GuardedRequest {
  method: 'GET' | 'POST';
  url: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  /** From the call to the last byte. */
  timeoutMs: number;
  /** Of the answer's body, as it comes over the wire. */
  maxResponseBytes: number;
  signal?: AbortSignal | undefined;
  /** Who called for it: one tenant's slow receivers take no place from another's at the same host. */
  onBehalfOf?: string;
}

export interface GuardedAnswer extends ExchangeAnswer {
  durationMs: number;
}

export interface GuardedHttpClient {
  /**
   * Errors: `url_not_allowed`, `url_unreachable`, `url_timeout`, `url_answer_too_large`; `overloaded` when the time went by in
   * waiting for a turn; `request_invalid` for headers that cannot be sent. Once the signal is aborted: its reason.
   */
  request(request: GuardedRequest): Promise<GuardedAnswer>;
  /** Ends what is under way as `url_unreachable`. */
  close(): Promise<void>;
}

/**
 * The one way to addresses that users give. Every request has a connection of its own, to an address that was judged after it was
 * resolved; redirects, cookies, proxies and compression do not exist, and an answer's size and time are bounded.
 * Errors: `config_invalid` for an entry of `allowAddresses` that is none.
 */
export function openGuardedHttpClient(options: GuardedHttpOptions = {}): GuardedHttpClient {
  const policy = egressPolicy(options);
  const slots = new GuardedSlots(options.maxRequests ?? 64, options.maxRequestsOfHost ?? 8);
  const dns = dnsResolver();
  const secureContext = createSecureContext(options.ca === undefined ? {} : { ca: options.ca });
  const underWay = new Map<AbortController, Promise<unknown>>();
  let isClosed = false;

  const resolverOf = ({ isNamed }: JudgedUrl) => options.lookup ?? (isNamed ? resolveBySystem : resolveByDns(dns));

  async function talk(target: JudgedUrl, wanted: Omit<Exchange, 'url'>): Promise<GuardedAnswer> {
    const startedAt = performance.now();
    const connect = guardedConnector(target, {
      policy,
      resolve: resolverOf(target),
      build: options.connect ?? buildConnector,
      secureContext,
    });
    const answer = await exchange({ ...wanted, url: target.url }, connect);
    return { ...answer, durationMs: performance.now() - startedAt };
  }

  async function inTurn(
    target: JudgedUrl,
    wanted: Omit<Exchange, 'url' | 'signal'>,
    stop: AbortController,
    { timeoutMs, onBehalfOf = '' }: { timeoutMs: number; onBehalfOf?: string | undefined },
  ) {
    let leave: (() => void) | undefined;
    const timer = setTimeout(() => stop.abort(new SightlineError(leave ? 'url_timeout' : 'overloaded')), timeoutMs);
    try {
      leave = await slots.take(JSON.stringify([onBehalfOf, target.host]), stop.signal);
      return await talk(target, { ...wanted, signal: stop.signal });
    } catch (error) {
      throw stop.signal.aborted ? stop.signal.reason : faultOf(error);
    } finally {
      clearTimeout(timer);
      leave?.();
    }
  }

  return {
    async request({ method, url, headers = {}, body, timeoutMs, maxResponseBytes, signal, onBehalfOf }: GuardedRequest) {
      const target = judge(url, policy);
      const wanted = { method, headers: outgoingHeaders(headers), body: body ?? null, maxResponseBytes };
      signal?.throwIfAborted();
      if (isClosed) throw new SightlineError('url_unreachable');
      const stop = new AbortController();
      const onAbort = () => stop.abort(signal?.reason);
      signal?.addEventListener('abort', onAbort, { once: true });
      const answer = inTurn(target, wanted, stop, { timeoutMs, onBehalfOf });
      underWay.set(stop, answer);
      try {
        return await answer;
      } finally {
        underWay.delete(stop);
        signal?.removeEventListener('abort', onAbort);
      }
    },

    async close() {
      isClosed = true;
      for (const stop of underWay.keys()) stop.abort(new SightlineError('url_unreachable'));
      await Promise.allSettled(underWay.values());
      dns.cancel();
    },
  };
}
