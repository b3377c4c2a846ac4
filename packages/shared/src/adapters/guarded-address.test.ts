import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { isAllowedAddress, isPublicAddress, parseAllowRule, parseAllowRules } from './guarded-address.ts';

/** The first and the last address of each range that is denied. */
const DENIED: [what: string, ...addresses: string[]][] = [
  ['this network', '0.0.0.0', '0.0.0.1', '0.255.255.255'],
  ['private 10/8', '10.0.0.0', '10.255.255.255'],
  ['private 172.16/12', '172.16.0.0', '172.31.255.255'],
  ['private 192.168/16', '192.168.0.0', '192.168.255.255'],
  ['carrier-grade NAT', '100.64.0.0', '100.100.100.200', '100.127.255.255'],
  ['loopback', '127.0.0.0', '127.0.0.1', '127.255.255.255', '::1'],
  ['link-local and cloud metadata', '169.254.0.0', '169.254.169.254', '169.254.170.2', '169.254.255.255', 'fe80::', 'fe80::1'],
  ['the last link-local', 'febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'fe80::1%eth0'],
  ['the platform address of a cloud', '168.63.129.16'],
  ['protocol assignments', '192.0.0.0', '192.0.0.192', '192.0.0.255'],
  ['documentation', '192.0.2.0', '192.0.2.255', '198.51.100.0', '198.51.100.255', '203.0.113.0', '203.0.113.255'],
  ['documentation, IPv6', '2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', '3fff::', '3fff:fff::1'],
  ['6to4 relays', '192.88.99.0', '192.88.99.255'],
  ['benchmarks', '198.18.0.0', '198.19.255.255', '2001:2::1'],
  [
    'AS112 and multicast tunnels',
    '192.31.196.1',
    '192.52.193.1',
    '192.175.48.1',
    '2001:3::1',
    '2001:4:112::1',
    '2620:4f:8000::1',
  ],
  ['multicast', '224.0.0.0', '239.255.255.255', 'ff00::', 'ff02::1', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['reserved and broadcast', '240.0.0.0', '255.255.255.254', '255.255.255.255'],
  ['unspecified', '::'],
  ['v4-mapped of what is denied', '::ffff:10.0.0.1', '::ffff:7f00:1', '::ffff:a9fe:a9fe', '0:0:0:0:0:ffff:192.168.1.1'],
  ['v4-compatible', '::127.0.0.1', '::10.0.0.1', '::8.8.8.8'],
  ['translated (RFC 2765)', '::ffff:0:127.0.0.1', '::ffff:0:8.8.8.8'],
  ['NAT64', '64:ff9b::', '64:ff9b::127.0.0.1', '64:ff9b::8.8.8.8', '64:ff9b:1::', '64:ff9b:1::10.0.0.1', '64:ff9b:1:ffff::1'],
  ['6to4', '2002::', '2002:7f00:1::1', '2002:a00:1::1', '2002:808:808::1'],
  ['Teredo', '2001::', '2001:0:4136:e378:8000:63bf:3fff:fdd2', '2001:1ff:ffff::1'],
  ['ORCHID', '2001:10::1', '2001:20::1', '2001:30::1'],
  ['discard', '100::', '100::1', '100:0:0:1::1'],
  ['unique local', 'fc00::', 'fd00:ec2::254', 'fd20:ce::254', 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['site-local', 'fec0::', 'fec0::1', 'feff::1'],
  ['segment routing', '5f00::1'],
  ['given to nobody', '1000::1', '4000::1', '8000::1', 'e000::1'],
];

test.each(DENIED)('%s is denied', (_what, ...addresses) => {
  expect(addresses.filter(isPublicAddress)).toEqual([]);
});

test.each([
  '',
  'localhost',
  'example.com',
  '127.1',
  '2130706433',
  '0x7f.1',
  '010.0.0.1',
  '8.8.8',
  '8.8.8.8 ',
  '[::1]',
  '8.8.8.8/8',
])('%j is no address, so it is not public either', (text) => expect(isPublicAddress(text)).toBe(false));

/** The neighbours of what is denied, and well-known servers. */
const PUBLIC = [
  '1.0.0.0',
  '8.8.8.8',
  '9.255.255.255',
  '11.0.0.0',
  '100.63.255.255',
  '100.128.0.0',
  '126.255.255.255',
  '128.0.0.0',
  '168.63.129.15',
  '168.63.129.17',
  '169.253.255.255',
  '169.255.0.0',
  '172.15.255.255',
  '172.32.0.0',
  '192.0.1.0',
  '192.167.255.255',
  '192.169.0.0',
  '198.17.255.255',
  '198.20.0.0',
  '223.255.255.255',
  '::ffff:8.8.8.8',
  '::ffff:808:808',
  '2001:200::1',
  '2001:4860:4860::8888',
  '2001:db7::1',
  '2001:db9::1',
  '2003::1',
  '2606:4700:4700::1111',
  '2620:fe::fe',
  '2a00:1450:4001:81b::200e',
  '3ffe::1',
];

test.each(PUBLIC)('%s is public', (address) => expect(isPublicAddress(address)).toBe(true));

test('nothing is public that the library knows a special purpose of', () => {
  const octet = fc.nat(255);
  const group = fc.oneof(
    fc.nat(0xffff),
    fc.constantFrom(0, 1, 0x64, 0x100, 0x2001, 0x2002, 0xdb8, 0x5f00, 0xfe80, 0xff9b, 0xffff),
  );
  const v4 = fc.tuple(octet, octet, octet, octet).map((octets) => octets.join('.'));
  const v6 = fc.array(group, { minLength: 8, maxLength: 8 }).map((groups) => groups.map((one) => one.toString(16)).join(':'));
  fc.assert(
    fc.property(fc.oneof(v4, v6), (address) => {
      const isSpecial = ipaddr.process(address).range() !== 'unicast';
      return !(isSpecial && isPublicAddress(address));
    }),
    { numRuns: 20_000, seed: 6 },
  );
});

test('a rule opens its addresses, in each of their spellings, and no other', () => {
  const rules = parseAllowRules(['10.1.0.0/16', 'fd00:1::/32', '127.0.0.1:8080', '[::1]:8443', '192.168.7.7']);
  const isAllowed = (address: string, port = '443') => isAllowedAddress(address, port, rules);
  expect(['10.1.0.0', '10.1.255.255', '::ffff:10.1.2.3', 'fd00:1::9', '192.168.7.7'].every((one) => isAllowed(one))).toBe(true);
  expect(
    ['10.0.255.255', '10.2.0.0', 'fd00:2::1', '192.168.7.8', '::10.1.2.3', '64:ff9b::10.1.2.3'].some((one) => isAllowed(one)),
  ).toBe(false);
  expect(isAllowed('127.0.0.1', '8080') && isAllowed('::ffff:127.0.0.1', '8080') && isAllowed('::1', '8443')).toBe(true);
  expect(isAllowed('127.0.0.1') || isAllowed('127.0.0.1', '8443') || isAllowed('127.0.0.2', '8080')).toBe(false);
});

test.each([
  '',
  'hooks',
  'hooks.corp',
  '10.0.0.0/33',
  '10.0.0.0/',
  '10.0.0.0/8/8',
  '10/8',
  '10.1/16',
  '::/129',
  'fe80::1%lo',
  '10.0.0.1:0',
  '10.0.0.1:65536',
  '10.0.0.1:',
  '127.1:8080',
  '1:80',
  '[hooks]:80',
  '[::1]',
  '*.corp:443',
  'http://hooks.corp:443',
  'hooks.corp:443/path',
  'user@hooks.corp:443',
])('%j is no rule', (text) => {
  expect(parseAllowRule(text)).toBeNull();
  expect(() => parseAllowRules([text])).toThrow(expect.objectContaining({ code: 'config_invalid' }));
});

test('a name is a rule with its port', () => {
  expect(parseAllowRule('Hooks.Corp:8443')).toEqual({ name: 'hooks.corp', port: '8443' });
});
