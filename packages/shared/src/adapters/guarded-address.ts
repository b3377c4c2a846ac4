import { BlockList, isIP } from 'node:net';
import { SightlineError } from '../runtime/errors.ts';

/** Where public addresses lie: IPv4, in v4-mapped spelling too, and the one block of IPv6 that global addresses are given from. */
const GLOBAL = ranges('0.0.0.0/0', '2000::/3');

/**
 * What inside it is not public: IANA's special-purpose registry, multicast, what is reserved, and the one public address that a cloud
 * answers on inside. Outside it lie loopback, v4-compatible, NAT64, discard, unique local, link-local and site-local IPv6.
 */
const SPECIAL = ranges(
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '168.63.129.16/32',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  // Teredo, ORCHID, benchmarks.
  '2001::/23',
  '2001:db8::/32',
  // 6to4.
  '2002::/16',
  '2620:4f:8000::/48',
  '3fff::/20',
);

/** Node's own list: it reads an address as the socket that connects to it does, and a v4-mapped one as what it maps. */
function ranges(...texts: string[]): BlockList {
  const list = new BlockList();
  for (const text of texts) {
    const [address = '', bits] = text.split('/');
    list.addSubnet(address, Number(bits), familyOf(address));
  }
  return list;
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 4 ? 'ipv4' : 'ipv6';
}

/** Whether an address is one of the public internet. Anything that is no address is not. */
export function isPublicAddress(address: string): boolean {
  if (isIP(address) === 0) return false;
  const family = familyOf(address);
  return GLOBAL.check(address, family) && !SPECIAL.check(address, family);
}

/** What an operator allows beside the public internet: addresses, at any port or at one, or a name at a port. */
export type AllowRule = { range: BlockList; port: string | null } | { name: string; port: string };

const PORT = String.raw`:(?<port>[1-9]\d{0,4})`;
const BRACKETED = new RegExp(String.raw`^\[(?<host>[0-9a-f:.]+)\]${PORT}$`, 'i');
const NAMED = new RegExp(`^(?<host>[0-9a-z._-]{1,253})${PORT}$`, 'i');

/** A rule from `address`, `address/bits`, `address:port`, `[address]:port` or `name:port`; null for anything else. */
export function parseAllowRule(text: string): AllowRule | null {
  const { host, port } = (BRACKETED.exec(text) ?? NAMED.exec(text))?.groups ?? {};
  if (host === undefined || port === undefined) return rangeRule(text, null);
  if (Number(port) > 65_535) return null;
  if (isIP(host) !== 0) return rangeRule(host, port);
  // What a URL would read as an address (such as 127.1) is no name.
  return URL.parse(`http://${host}`)?.hostname === host.toLowerCase() ? { name: host.toLowerCase(), port } : null;
}

function rangeRule(text: string, port: string | null): AllowRule | null {
  const [address = '', bits, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || address.includes('%') || rest.length > 0) return null;
  const most = version === 4 ? 32 : 128;
  if (bits === undefined) return { range: ranges(`${address}/${most}`), port };
  return /^\d{1,3}$/.test(bits) && Number(bits) <= most ? { range: ranges(text), port } : null;
}

/** Errors: `config_invalid`. */
export function parseAllowRules(texts: readonly string[]): AllowRule[] {
  return texts.map((text) => {
    const rule = parseAllowRule(text);
    if (rule === null) throw new SightlineError('config_invalid', `${text} is no address range, and no host with its port.`);
    return rule;
  });
}

export function isAllowedName(name: string, port: string, rules: readonly AllowRule[]): boolean {
  return rules.some((rule) => 'name' in rule && rule.name === name && rule.port === port);
}

/** Whether an address is public, or one that a rule allows at this port. */
export function isAllowedAddress(address: string, port: string, rules: readonly AllowRule[]): boolean {
  return isPublicAddress(address) || rules.some((rule) => opens(rule, address) && (rule.port === null || rule.port === port));
}

/** Whether a rule names this very port of the address. */
export function isAllowedPort(address: string, port: string, rules: readonly AllowRule[]): boolean {
  return rules.some((rule) => rule.port === port && opens(rule, address));
}

function opens(rule: AllowRule, address: string): boolean {
  return 'range' in rule && isIP(address) !== 0 && rule.range.check(address, familyOf(address));
}
