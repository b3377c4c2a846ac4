import { isIP } from 'node:net';
import { SightlineError } from '../runtime/errors.ts';
import { isAllowedAddress, isAllowedName, isAllowedPort, parseAllowRules, type AllowRule } from './guarded-address.ts';

export interface EgressOptions {
  /** Whether `http:` is called too. Default: `https:` alone. */
  allowHttp?: boolean;
  /** What is called though it is not public: `address`, `address/bits`, `address:port`, `[address]:port`, `name:port`. */
  allowAddresses?: readonly string[];
}

/** Options as they are judged by. */
export interface EgressPolicy {
  allowHttp: boolean;
  rules: readonly AllowRule[];
}

/** Where a request may go. */
export interface JudgedUrl {
  url: URL;
  /** The host as it is connected to: a name in lower case, or an address without brackets. */
  host: string;
  port: string;
  /** An operator named this host and port: what the name resolves to is the operator's. */
  isNamed: boolean;
}

const MAX_URL_LENGTH = 8_192;
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
const INTERNAL_SUFFIXES = ['localhost', 'local', 'internal'];

/** One text for a host that is refused as written and for one that is refused once resolved: which of the two is not told. */
export function refusedHost(): SightlineError {
  return new SightlineError('url_not_allowed', 'The host is no name or address of the public internet.');
}

/** Errors: `config_invalid` for an entry of `allowAddresses` that is none. */
export function egressPolicy({ allowHttp = false, allowAddresses = [] }: EgressOptions): EgressPolicy {
  return { allowHttp, rules: parseAllowRules(allowAddresses) };
}

/**
 * An address that a user gives, judged by what it says, without asking DNS: what a registration can know. A request judges what
 * the name resolves to besides. Gives the normalised URL. Errors: `url_not_allowed`.
 */
export function judgeUrl(text: string, options: EgressOptions = {}): URL {
  return judge(text, egressPolicy(options)).url;
}

/** As `judgeUrl`, for who goes on to connect. */
export function judge(text: string, policy: EgressPolicy): JudgedUrl {
  const url = text.length <= MAX_URL_LENGTH ? URL.parse(text) : null;
  if (url === null) throw new SightlineError('url_not_allowed', 'It is no URL, or too long a one.');
  if (url.protocol !== 'https:' && !(policy.allowHttp && url.protocol === 'http:')) {
    throw new SightlineError('url_not_allowed', policy.allowHttp ? 'Only http and https are called.' : 'Only https is called.');
  }
  if (url.username !== '' || url.password !== '') {
    throw new SightlineError('url_not_allowed', 'User names and passwords do not belong in an address.');
  }
  // The dot that ends an absolute name would make another text of the same name, for certificates too.
  if (url.hostname.endsWith('.')) url.hostname = url.hostname.slice(0, -1);
  url.hash = '';
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  const isNamed = isAllowedName(host, port, policy.rules);
  if (!isNamed && !isAllowedPort(host, port, policy.rules) && !isUsualPort(Number(port), policy)) {
    throw new SightlineError('url_not_allowed', 'Ports below 1024 are not called, but for that of the scheme.');
  }
  const isAllowed = isIP(host) === 0 ? isNamed || isPublicName(host) : isAllowedAddress(host, port, policy.rules);
  if (!isAllowed) throw refusedHost();
  return { url, host, port, isNamed };
}

function isUsualPort(port: number, { allowHttp }: EgressPolicy): boolean {
  return port === 443 || (port === 80 && allowHttp) || port >= 1_024;
}

/** URLs are in lower case and punycode by then, and every spelling of an IPv4 address is one. */
function isPublicName(host: string): boolean {
  const labels = host.split('.');
  if (host.length > 253 || labels.length < 2 || !labels.every((label) => LABEL.test(label))) return false;
  return !INTERNAL_SUFFIXES.includes(labels.at(-1) ?? '');
}
