import { SightlineError } from '@sightline/shared/runtime/errors';

export interface Visitor {
  host: string | undefined;
  origin: string | undefined;
  /** The browser's own word on where a request comes from (Sec-Fetch-Site); absent outside browsers. */
  fetchSite: string | undefined;
  /** A top-level visit, such as a link that was followed. */
  isNavigation: boolean;
}

/**
 * Without an API key: only loopback hosts, on the port that is served, and only the own origin. A page of another site that had its
 * name rebound to 127.0.0.1 still sends that name in Host; a page that posts here cross-origin sends its own Origin.
 * `allowed` adds hosts (`name` for any port, or `name:port`). Error: `host_not_allowed`.
 */
export function assertAllowedVisitor(visitor: Visitor, served: { port: number; allowed: string[] }): void {
  const host = parseAuthority(visitor.host);
  if (!host || !isAllowedHost(host, served)) throw new SightlineError('host_not_allowed', 'Host');
  if (
    visitor.origin !== undefined &&
    visitor.origin.toLowerCase() !== `http://${host.text}` &&
    visitor.origin.toLowerCase() !== `https://${host.text}`
  ) {
    throw new SightlineError('host_not_allowed', 'Origin');
  }
  const isForeign = visitor.fetchSite === 'cross-site' || visitor.fetchSite === 'same-site';
  if (isForeign && !visitor.isNavigation) throw new SightlineError('host_not_allowed', 'Sec-Fetch-Site');
}

interface Authority {
  text: string;
  /** IPv6 without brackets. */
  name: string;
  port: number;
}

function parseAuthority(value: string | undefined): Authority | null {
  const match = /^(?:\[(?<v6>[0-9a-f:.]+)\]|(?<name>[a-z0-9.-]+))(?::(?<port>\d{1,5}))?$/i.exec(value ?? '');
  if (!match?.groups) return null;
  const { v6, name, port } = match.groups;
  return {
    text: (value ?? '').toLowerCase(),
    name: (v6 ?? name ?? '').toLowerCase(),
    port: port === undefined ? 80 : Number(port),
  };
}

function isAllowedHost(host: Authority, served: { port: number; allowed: string[] }): boolean {
  const names = served.allowed.map((one) => one.toLowerCase());
  if (names.includes(host.text) || names.includes(host.name)) return true;
  return host.port === served.port && isLoopbackName(host.name);
}

function isLoopbackName(name: string): boolean {
  return name === 'localhost' || name === '::1' || isLoopbackV4(name);
}

function isLoopbackV4(name: string): boolean {
  const parts = name.split('.');
  return parts.length === 4 && parts[0] === '127' && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255);
}

/** Whether who listens on this address or name is reached from this machine only. */
export function isLoopbackHost(host: string): boolean {
  return isLoopbackName(host.toLowerCase());
}

/** Whether a socket's peer is this machine. */
export function isLoopbackAddress(address: string | undefined): boolean {
  if (!address) return false;
  return address === '::1' || isLoopbackV4(address.replace(/^::ffff:/i, ''));
}
