import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { lookup as lookupAny } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { buildConnector, Client } from 'undici';
import { openRecordingServer, type RecordingServer } from '@sightline/shared/testing/recording-server';
import { openScriptedDnsServer } from '@sightline/shared/testing/scripted-dns-server';
import { openGuardedHttpClient, type GuardedHttpClient, type GuardedHttpOptions } from './guarded-http-client.ts';
import { resolveByDns } from './guarded-lookup.ts';

/** Listens on every address of this machine; nothing may ever reach it. */
let inside: RecordingServer;
/** The one receiver that is allowed. */
let receiver: RecordingServer;
/** On the receiver's port, at another address of this machine; nothing may ever reach it either. */
let neighbour: RecordingServer;
let dns: Awaited<ReturnType<typeof openScriptedDnsServer>>;
let client: GuardedHttpClient;

/** What `turns.example.com` resolves to, question after question; the last one stays. */
let turns: string[] = [];

const script = {
  'inside.example.com': ['127.0.0.1'],
  'inside6.example.com': ['::1'],
  'mapped.example.com': ['::ffff:7f00:1'],
  'unspecified.example.com': ['0.0.0.0', '::'],
  'alias.example.com': { alias: 'alias2.example.com' },
  'alias2.example.com': { alias: 'inside.example.com' },
  'mixed.example.com': ['8.8.8.8', '127.0.0.1'],
  'mixed6.example.com': ['2606:4700:4700::1111', '::1'],
  'mixed-families.example.com': ['8.8.8.8', '::1'],
  'first-allowed.example.com': ['127.0.0.1', '127.0.0.2'],
  'last-allowed.example.com': ['127.0.0.2', '127.0.0.1'],
  'inside.xn--bcher-kva.example': ['127.0.0.1'],
  'receiver.example.com': ['127.0.0.1'],
  'metadata.example.com': ['169.254.169.254'],
  'turns.example.com': (type: 'A' | 'AAAA') => (type === 'A' ? [(turns.length > 1 ? turns.shift() : turns[0]) ?? ''] : []),
  localhost: ['127.0.0.1'],
  'db.internal': ['127.0.0.1'],
  'printer.local': ['127.0.0.1'],
  'a.localhost': ['127.0.0.1'],
};

beforeAll(async () => {
  inside = await openRecordingServer({ host: '::' });
  receiver = await openRecordingServer({ host: '127.0.0.1' });
  neighbour = await openRecordingServer({ host: '127.0.0.2', port: receiver.port });
  dns = await openScriptedDnsServer(script);
  client = openGuardedHttpClient(nearlyOpen());
});

afterAll(async () => {
  await client.close();
  await Promise.all([inside.close(), receiver.close(), neighbour.close(), dns.close()]);
});

/** A door stands open right beside: what is refused is not refused because everything is. */
function nearlyOpen(): GuardedHttpOptions {
  return { allowHttp: true, allowAddresses: [`127.0.0.1:${receiver.port}`], lookup: resolveByDns(dns.resolver) };
}

const limits = { timeoutMs: 5_000, maxResponseBytes: 1_000 };

async function codeOf(url: string, from: GuardedHttpClient = client, headers: Record<string, string> = {}): Promise<unknown> {
  return from.request({ method: 'GET', url, headers, ...limits }).then(
    ({ status }) => status,
    (error: unknown) => (error as { code?: unknown }).code,
  );
}

const reached = () => inside.connections() + neighbour.connections();

/** PORT is the port of what lies inside, RECEIVER that of what is allowed. */
const portsIn = (url: string) => url.replaceAll('PORT', String(inside.port)).replaceAll('RECEIVER', String(receiver.port));

const REACHING: [how: string, url: string][] = [
  ['loopback as it is', 'http://127.0.0.1:PORT/'],
  ['the last loopback address', 'http://127.255.255.254:PORT/'],
  ['two parts', 'http://127.1:PORT/'],
  ['three parts', 'http://127.0.1:PORT/'],
  ['one decimal number', 'http://2130706433:PORT/'],
  ['one hexadecimal number', 'http://0x7f000001:PORT/'],
  ['one octal number', 'http://017700000001:PORT/'],
  ['octal parts', 'http://0177.0.0.01:PORT/'],
  ['hexadecimal parts', 'http://0x7f.0x0.0x0.0x1:PORT/'],
  ['mixed bases', 'http://0x7F.0.01:PORT/'],
  ['a dot at the end of an address', 'http://127.0.0.1.:PORT/'],
  ['unspecified', 'http://0.0.0.0:PORT/'],
  ['nought', 'http://0:PORT/'],
  ['full-width digits', 'http://１２７.０.０.１:PORT/'],
  ['circled digits', 'http://①②⑦.⓪.⓪.①:PORT/'],
  ['mathematical digits', 'http://𝟏𝟐𝟕.𝟎.𝟎.𝟏:PORT/'],
  ['ideographic full stops', 'http://127。0．0｡1:PORT/'],
  ['percent-encoded digits', 'http://%31%32%37.0.0.1:PORT/'],
  ['percent-encoded dots', 'http://127%2e0%2E0.1:PORT/'],
  ['a soft hyphen', 'http://127.0.0.\u00AD1:PORT/'],
  ['a zero-width space', 'http://127.0.\u200B0.1:PORT/'],
  ['IPv6 loopback', 'http://[::1]:PORT/'],
  ['IPv6 loopback in full', 'http://[0000:0000:0000:0000:0000:0000:0000:0001]:PORT/'],
  ['IPv6 unspecified', 'http://[::]:PORT/'],
  ['v4-mapped', 'http://[::ffff:127.0.0.1]:PORT/'],
  ['v4-mapped in hexadecimal', 'http://[0:0:0:0:0:FFFF:7F00:1]:PORT/'],
  ['a public name as user', 'http://receiver.example.com@127.0.0.1:PORT/'],
  ['a public name and port as user and password', 'http://receiver.example.com:443@127.0.0.1:PORT/'],
  ['two at signs', 'http://receiver.example.com@8.8.8.8@127.0.0.1:PORT/'],
  ['a public name in the fragment', 'http://127.0.0.1:PORT#@receiver.example.com/'],
  ['backslashes', 'http:\\\\127.0.0.1:PORT\\'],
  ['no slashes', 'http:127.0.0.1:PORT/'],
  ['many slashes', 'http://///127.0.0.1:PORT/'],
  ['control characters within', 'ht\ntp://127.0.0.\t1:PO\rRT/'.replace('PO\rRT', 'PORT')],
  ['white space around', ' \u0000\u001f http://127.0.0.1:PORT/ '],
  ['a scheme in capitals', 'HTTP://127.0.0.1:PORT/'],
  ['a port with noughts', 'http://127.0.0.1:0PORT/'],
  ['localhost', 'http://localhost:PORT/'],
  ['localhost in capitals, with its dot', 'http://LOCALHOST.:PORT/'],
  ['localhost in circled letters', 'http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:PORT/'],
  ['a name under localhost', 'http://a.localhost:PORT/'],
  ['a name under internal', 'http://db.internal:PORT/'],
  ['a name under local', 'http://printer.local.:PORT/'],
  ['a name that resolves to loopback', 'http://inside.example.com:PORT/'],
  ['such a name with its dot', 'http://inside.example.com.:PORT/'],
  ['such a name in capitals', 'http://INSIDE.example.COM:PORT/'],
  ['such a name that is international', 'http://inside.bücher.example:PORT/'],
  ['a name with an IPv6 address alone', 'http://inside6.example.com:PORT/'],
  ['a name with a v4-mapped address alone', 'http://mapped.example.com:PORT/'],
  ['a name that resolves to the unspecified addresses', 'http://unspecified.example.com:PORT/'],
  ['a name that is an alias of an alias', 'http://alias.example.com:PORT/'],
  ['another port of an address that is allowed at one', 'http://receiver.example.com:PORT/'],
  ['a name with an allowed and a denied address', 'http://first-allowed.example.com:RECEIVER/'],
  ['the same the other way round', 'http://last-allowed.example.com:RECEIVER/'],
  ['TLS to what lies inside', 'https://127.0.0.1:PORT/'],
  ['TLS to a name that lies inside', 'https://inside.example.com:PORT/'],
];

/** What would have happened: the same URL and the same names with undici, and nobody who judges. */
async function unguarded(url: string): Promise<void> {
  const lookup: LookupFunction = (name, options, callback) => {
    // The zone of localhost is the machine's own.
    if (name === 'localhost') return lookupAny(name, options, callback);
    resolveByDns(dns.resolver)(name).then(
      (found) => {
        const addresses = found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
        process.nextTick(callback, null, addresses);
      },
      (error: unknown) => process.nextTick(callback, error, []),
    );
  };
  const target = new URL(url);
  // Credentials are undici's to refuse, not to follow; which address they hide is what is asked here.
  const naive = new Client(target.origin, {
    connect: { lookup, autoSelectFamily: true, rejectUnauthorized: false, timeout: 2_000 },
  });
  await naive.request({ path: '/', method: 'GET', signal: AbortSignal.timeout(2_000) }).catch(() => {});
  await naive.destroy();
}

test.each(REACHING)('refused, and no connection is made: %s', async (_how, written) => {
  const url = portsIn(written);
  const before = reached();
  expect(await codeOf(url)).toBe('url_not_allowed');
  expect(reached()).toBe(before);
});

/** Which of two addresses a socket takes is chance. */
const ALWAYS_REACHING = REACHING.filter(([, url]) => !url.includes('-allowed.'));

test.each(ALWAYS_REACHING)('without the guard it is reached: %s', async (_how, written) => {
  const before = reached();
  await unguarded(portsIn(written));
  expect(reached()).toBeGreaterThan(before);
});

/** Where nothing listens here, or no ordinary client would go: the code alone is looked at. */
const REFUSED: [how: string, url: string][] = [
  ['v4-compatible', 'http://[::127.0.0.1]:PORT/'],
  ['NAT64', 'http://[64:ff9b::127.0.0.1]:PORT/'],
  ['NAT64 of the local prefix', 'http://[64:ff9b:1::7f00:1]:PORT/'],
  ['6to4', 'http://[2002:7f00:1::]:PORT/'],
  ['Teredo', 'http://[2001:0:7f00:1::]:PORT/'],
  ['translated', 'http://[::ffff:0:127.0.0.1]:PORT/'],
  ['link-local with a zone', 'http://[fe80::1%25lo]:PORT/'],
  ['loopback with a zone', 'http://[::1%25lo]:PORT/'],
  ['brackets round an IPv4 address', 'http://[127.0.0.1]:PORT/'],
  ['five parts', 'http://127.0.0.0.1:PORT/'],
  ['a part over 255', 'http://127.0.0.257:PORT/'],
  ['a number over 32 bits', 'http://6425673729:PORT/'],
  ['cloud metadata', 'http://169.254.169.254/latest/meta-data/'],
  ['cloud metadata as a number', 'http://2852039166/latest/meta-data/'],
  ['cloud metadata by name', 'http://metadata.google.internal/computeMetadata/v1/'],
  ['a name that resolves to cloud metadata', 'http://metadata.example.com/latest/meta-data/'],
  ['a name of one label', 'http://redis:6379/'],
  ['an address as a label', 'http://127.0.0.1.localhost:PORT/'],
  ['a name with a public and a loopback address', 'http://mixed.example.com:PORT/'],
  ['the same with IPv6', 'http://mixed6.example.com:PORT/'],
  ['one of each family', 'http://mixed-families.example.com:PORT/'],
  ['ssh', 'http://127.0.0.1:22/'],
  ['mail', 'http://receiver.example.com:25/'],
  ['port nought', 'http://receiver.example.com:0/'],
  ['the last low port', 'http://receiver.example.com:1023/'],
  ['no port of TCP', 'http://receiver.example.com:65536/'],
  ...['file:///etc/passwd', 'ftp://127.0.0.1:PORT/', 'gopher://127.0.0.1:PORT/_GET', 'dict://127.0.0.1:PORT/info'].map(scheme),
  ...['data:text/plain,x', 'javascript:fetch(1)', 'blob:http://127.0.0.1:PORT/x', 'ws://127.0.0.1:PORT/', 'unix:/tmp/x'].map(
    scheme,
  ),
  ...['http+unix://%2Ftmp%2Fx/', 'jar:http://127.0.0.1:PORT!/', 'view-source:http://127.0.0.1:PORT/', '//127.0.0.1:PORT/'].map(
    scheme,
  ),
];

function scheme(url: string): [how: string, url: string] {
  return [`as ${url.split(':')[0]}`, url];
}

test.each(REFUSED)('refused: %s', async (_how, written) => {
  const before = reached();
  expect(await codeOf(portsIn(written))).toBe('url_not_allowed');
  expect(reached()).toBe(before);
});

test('the receiver that is allowed is reached, by address and by name', async () => {
  const before = receiver.connections();
  expect(await codeOf(portsIn('http://127.0.0.1:RECEIVER/'))).toBe(200);
  expect(await codeOf(portsIn('http://receiver.example.com.:RECEIVER/'))).toBe(200);
  expect(receiver.connections()).toBe(before + 2);
  expect(receiver.requests.at(-1)).toContain(portsIn('\r\nhost: receiver.example.com:RECEIVER\r\n'));
});

test('plain http is not called unless it is allowed, not even where the address is', async () => {
  const strict = openGuardedHttpClient({ ...nearlyOpen(), allowHttp: false });
  const before = receiver.connections();
  expect(await codeOf(portsIn('http://127.0.0.1:RECEIVER/'), strict)).toBe('url_not_allowed');
  expect(receiver.connections()).toBe(before);
  await strict.close();
});

test('a name that an operator allows is called wherever it leads, at the port that was named', async () => {
  const operators = openGuardedHttpClient({ ...nearlyOpen(), allowAddresses: [`db.internal:${receiver.port}`] });
  expect(await codeOf(portsIn('http://db.internal:RECEIVER/'), operators)).toBe(200);
  const before = reached();
  expect(await codeOf(portsIn('http://db.internal:PORT/'), operators)).toBe('url_not_allowed');
  expect(await codeOf(portsIn('http://inside.example.com:RECEIVER/'), operators)).toBe('url_not_allowed');
  expect(reached()).toBe(before);
  await operators.close();
});

test('a name that an operator allows is looked up as the machine does, hosts file and all', async () => {
  const operators = openGuardedHttpClient({ allowHttp: true, allowAddresses: [`localhost:${receiver.port}`] });
  expect(await codeOf(portsIn('http://localhost:RECEIVER/'), operators)).toBe(200);
  await operators.close();
});

test('a name is resolved once: what it resolves to a moment later is not connected to', async () => {
  turns = ['127.0.0.1', '127.0.0.2'];
  const before = neighbour.connections();
  const asked = dns.asked();
  expect(await codeOf(portsIn('http://turns.example.com:RECEIVER/'))).toBe(200);
  expect(dns.asked() - asked).toBe(2);
  expect(turns).toEqual(['127.0.0.2']);
  expect(neighbour.connections()).toBe(before);
});

test('a name that was good is judged again with every request, over a connection of its own', async () => {
  const patient = await openRecordingServer({
    behaviour: (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: timeout=600\r\n\r\nok'),
  });
  const keeping = openGuardedHttpClient({ ...nearlyOpen(), allowAddresses: [`127.0.0.1:${patient.port}`] });
  const url = `http://turns.example.com:${patient.port}/`;
  turns = ['127.0.0.1'];
  expect(await codeOf(url, keeping)).toBe(200);
  expect(await codeOf(url, keeping)).toBe(200);
  expect(patient.connections()).toBe(2);
  turns = ['127.0.0.2'];
  expect(await codeOf(url, keeping)).toBe('url_not_allowed');
  await patient.idle();
  await keeping.close();
  await patient.close();
});

test.each([
  '127.0.0.1 ',
  '127.1',
  'localhost',
  '0x7f000001',
  '',
  '[::1]',
  '::1%lo',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '::127.0.0.1',
])('a lookup that answers %j leads nowhere', async (address) => {
  const misled = openGuardedHttpClient({ ...nearlyOpen(), lookup: async () => [address] });
  const before = reached();
  expect(await codeOf(portsIn('http://receiver.example.com:PORT/'), misled)).toBe('url_not_allowed');
  expect(reached()).toBe(before);
  await misled.close();
});

test('where a socket comes out is looked at again: a request is not written to what nobody judged', async () => {
  const before = inside.connections();
  const astray = openGuardedHttpClient({
    ...nearlyOpen(),
    connect: () => (place, callback) =>
      buildConnector({})({ ...place, hostname: '127.0.0.1', port: String(inside.port) }, callback),
    allowAddresses: ['127.0.0.1:1'],
    lookup: async () => ['8.8.8.8'],
  });
  expect(await codeOf('http://receiver.example.com/', astray)).toBe('url_not_allowed');
  await inside.idle();
  expect(inside.connections()).toBe(before + 1);
  expect(inside.requests.filter((request) => request.includes('host: receiver.example.com\r\n'))).toEqual([]);
  await astray.close();
});

test.each([
  ['301', 'location: http://127.0.0.1:PORT/'],
  ['302', 'location: http://127.0.0.1:PORT/'],
  ['303', 'location: http://[::1]:PORT/'],
  ['307', 'location: //127.0.0.1:PORT/'],
  ['308', 'location: http://inside.example.com:PORT/'],
  ['300', 'location: http://127.0.0.1:PORT/'],
  ['201', 'location: http://127.0.0.1:PORT/'],
  ['200', 'refresh: 0; url=http://127.0.0.1:PORT/'],
  ['200', 'alt-svc: http/1.1="127.0.0.1:PORT"'],
  ['200', 'link: <http://127.0.0.1:PORT/>; rel=preload'],
  ['401', 'www-authenticate: Basic realm="x"'],
  ['407', 'proxy-authenticate: Basic realm="x"'],
  ['305', 'location: http://127.0.0.1:PORT/'],
])('an answer of %s with %s leads nowhere', async (status, header) => {
  const leading = await openRecordingServer({
    behaviour: (socket) => socket.end(`HTTP/1.1 ${status} Elsewhere\r\n${portsIn(header)}\r\ncontent-length: 0\r\n\r\n`),
  });
  const following = openGuardedHttpClient({ ...nearlyOpen(), allowAddresses: [`127.0.0.1:${leading.port}`] });
  const before = reached();
  expect(await codeOf(`http://127.0.0.1:${leading.port}/`, following)).toBe(Number(status));
  expect(leading.connections()).toBe(1);
  expect(reached()).toBe(before);
  await following.close();
  await leading.close();
});

test.each([
  [{ host: '127.0.0.1' }],
  [{ Host: 'inside.example.com' }],
  [{ 'x-a': 'b\r\nhost: inside' }],
  [{ 'x-a': 'b\nc: d' }],
  [{ 'x-a\r\nx-b': 'c' }],
  [{ 'x a': 'c' }],
  [{ '': 'c' }],
  [{ 'x-a': 'ā' }],
  [{ 'transfer-encoding': 'chunked' }],
  [{ 'Content-Length': '0' }],
  [{ connection: 'upgrade' }],
  [{ upgrade: 'h2c' }],
  [{ expect: '100-continue' }],
  [{ 'proxy-authorization': 'x' }],
  [{ 'accept-encoding': 'gzip' }],
])('headers that would say another thing than the caller are not sent: %j', async (headers) => {
  const before = receiver.connections();
  expect(await codeOf(portsIn('http://127.0.0.1:RECEIVER/'), client, headers as Record<string, string>)).toBe('request_invalid');
  expect(receiver.connections()).toBe(before);
});

test.each([
  ['/a%0d%0ax-b: c', '/a%0d%0ax-b:%20c'],
  ['/a\r\nx-b: c HTTP/1.1\r\n\r\nGET /b', '/ax-b:%20c%20HTTP/1.1GET%20/b'],
  ['/?q=\u010D\u010A', '/?q=%C4%8D%C4%8A'],
  ['/../../\\..//a', '//a'],
])('a line break in a path starts no second header and no second request: %j', async (path, sent) => {
  expect(await codeOf(`${portsIn('http://127.0.0.1:RECEIVER')}${path}`)).toBe(200);
  const head = portsIn('host: 127.0.0.1:RECEIVER\r\nconnection: close\r\nuser-agent: Sightline\r\naccept-encoding: identity');
  expect(receiver.requests.at(-1)).toBe(`GET ${sent} HTTP/1.1\r\n${head}\r\n\r\n`);
});

test('an allow list with what is no rule is refused at the start', () => {
  expect(() => openGuardedHttpClient({ allowAddresses: ['everything'] })).toThrow(
    expect.objectContaining({ code: 'config_invalid' }),
  );
});
