import { createSocket } from 'node:dgram';
import { isIPv4 } from 'node:net';
import { Resolver } from 'node:dns/promises';

type DnsEntry = string[] | { alias: string };

/** What a name resolves to: addresses, a name that it is an alias of, or what is made up for each question. */
export type DnsScript = Record<string, DnsEntry | ((type: 'A' | 'AAAA') => DnsEntry)>;

const TYPE = { A: 1, CNAME: 5, AAAA: 28 } as const;
const NAME_ERROR = 3;

/** A name server over UDP that answers from a script, for what the internet's names do. `resolver` asks it and no other. */
export async function openScriptedDnsServer(script: DnsScript) {
  const socket = createSocket('udp4');
  let asked = 0;
  socket.on('message', (query, from) => {
    asked += 1;
    socket.send(answerTo(query, script), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const resolver = new Resolver({ timeout: 2_000, tries: 2 });
  resolver.setServers([`127.0.0.1:${socket.address().port}`]);
  return {
    resolver,
    asked: () => asked,
    close: () => new Promise<void>((resolve) => socket.close(resolve)),
  };
}

function answerTo(query: Buffer, script: DnsScript): Buffer {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  const type = query.readUInt16BE(at + 1);
  const records: Buffer[] = [];
  const entryOf = (name: string) => {
    const entry = script[name];
    return typeof entry === 'function' ? entry(type === TYPE.A ? 'A' : 'AAAA') : entry;
  };
  let name = labels.join('.').toLowerCase();
  let entry = entryOf(name);
  const isKnown = entry !== undefined;
  while (entry && 'alias' in entry) {
    records.push(record(name, TYPE.CNAME, nameBytes(entry.alias)));
    name = entry.alias;
    entry = entryOf(name);
  }
  for (const address of entry ?? []) {
    const addressType = isIPv4(address) ? TYPE.A : TYPE.AAAA;
    if (addressType === type) records.push(record(name, type, addressBytes(address)));
  }
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  header.writeUInt16BE(0x8580 | (isKnown ? 0 : NAME_ERROR), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length, 6);
  return Buffer.concat([header, query.subarray(12, at + 5), ...records]);
}

function record(name: string, type: number, data: Buffer): Buffer {
  const fields = Buffer.alloc(10);
  fields.writeUInt16BE(type, 0);
  fields.writeUInt16BE(1, 2);
  fields.writeUInt16BE(data.length, 8);
  return Buffer.concat([nameBytes(name), fields, data]);
}

function nameBytes(name: string): Buffer {
  return Buffer.from(
    `${name
      .split('.')
      .map((label) => String.fromCharCode(label.length) + label)
      .join('')}\0`,
    'latin1',
  );
}

/** IPv6 in its canonical form. */
function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = address.split('::').map((half) => half.split(':').filter(Boolean));
  const groups = [...head, ...new Array<string>(8 - head.length - tail.length).fill('0'), ...tail];
  return Buffer.from(groups.map((group) => group.padStart(4, '0')).join(''), 'hex');
}
