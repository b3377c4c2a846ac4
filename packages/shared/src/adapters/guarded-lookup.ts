import { lookup as systemLookup, Resolver } from 'node:dns/promises';
import type { LookupFunction } from 'node:net';
import { isIP } from 'node:net';
import { isAllowedAddress } from './guarded-address.ts';
import { refusedHost, type EgressPolicy, type JudgedUrl } from './guarded-url.ts';

/** All addresses of a name. Rejects where it has none. */
export type ResolveName = (name: string) => Promise<string[]>;

const DNS_TIMEOUT_MS = 2_000;
const DNS_TRIES = 2;

export function dnsResolver(): Resolver {
  return new Resolver({ timeout: DNS_TIMEOUT_MS, tries: DNS_TRIES });
}

/**
 * Asks DNS alone, neither the hosts file nor the search list, which name what is inside; and holds no thread of the pool that
 * decoding and files need, however slowly a stranger's name server answers.
 */
export function resolveByDns(resolver: Resolver): ResolveName {
  return async (name) => {
    const [v4, v6] = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
    // IPv4 first: where IPv6 leads nowhere, no attempt is spent on it.
    const addresses = [v4, v6].flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (addresses.length === 0 && v4.status === 'rejected') throw v4.reason;
    return addresses;
  };
}

/** As every other program on this machine would: for names that the operator gave. */
export async function resolveBySystem(name: string): Promise<string[]> {
  return (await systemLookup(name, { all: true })).map(({ address }) => address);
}

/**
 * What a socket looks its host up with: it can only connect to what this gives, so nothing is resolved between the judgement
 * and the connection. One address that is not allowed refuses the whole name.
 */
export function judgedLookup(target: JudgedUrl, policy: EgressPolicy, resolve: ResolveName): LookupFunction {
  const find = async (name: string) => {
    const addresses = (await resolve(name)).map((address) => ({ address, family: isIP(address) }));
    if (addresses.length === 0) throw new Error('The name has no address.');
    if (!addresses.every(({ address }) => isAllowedPeer(address, target, policy))) throw refusedHost();
    return addresses;
  };
  return (name, _options, callback) => {
    find(name).then(
      // The socket asks for all of them, as `autoSelectFamily` does.
      (addresses) => process.nextTick(callback, null, addresses),
      (error: unknown) => process.nextTick(callback, error, []),
    );
  };
}

/** Whether an address that a host resolved to, or that a socket is connected to, may be talked to. */
export function isAllowedPeer(address: string, { port, isNamed }: JudgedUrl, { rules }: EgressPolicy): boolean {
  return isIP(address) !== 0 && (isNamed || isAllowedAddress(address, port, rules));
}
