import { expect, test } from '@jest/globals';
import { judgeUrl } from './guarded-url.ts';

const refused = expect.objectContaining({ code: 'url_not_allowed' });

test.each([
  ['https://Receiver.Example.com', 'https://receiver.example.com/'],
  ['https://receiver.example.com.:8443/a?b=c#d', 'https://receiver.example.com:8443/a?b=c'],
  ['https://receiver.example.com:443/', 'https://receiver.example.com/'],
  ['https://8.8.8.8:1024/', 'https://8.8.8.8:1024/'],
  ['https://[2606:4700:4700::1111]/', 'https://[2606:4700:4700::1111]/'],
  ['https://bücher.example/', 'https://xn--bcher-kva.example/'],
  ['https://_hooks.example.com/', 'https://_hooks.example.com/'],
  ['https://@receiver.example.com/', 'https://receiver.example.com/'],
  ['  https:\\\\receiver.example.com\\a\tb ', 'https://receiver.example.com/ab'],
])('%s is called as %s', (given, called) => expect(judgeUrl(given).href).toBe(called));

test.each([
  '',
  'receiver.example.com',
  '//receiver.example.com/',
  'https://',
  'https:///',
  'https://a b.example/',
  'https://a%00b.example/',
  'http://receiver.example.com/',
  'file:///etc/passwd',
  'ftp://receiver.example.com/',
  'gopher://receiver.example.com/',
  'data:,x',
  'javascript:alert(1)',
  'blob:https://receiver.example.com/1',
  'ws://receiver.example.com/',
  'view-source:https://a.example/',
  'https://user@receiver.example.com/',
  'https://:secret@receiver.example.com/',
  'https://receiver.example.com:443@8.8.8.8/',
  'https://receiver.example.com:0/',
  'https://receiver.example.com:22/',
  'https://receiver.example.com:80/',
  'https://receiver.example.com:1023/',
  'https://receiver.example.com:65536/',
  'https://receiver/',
  'https://localhost/',
  'https://a.localhost/',
  'https://printer.local/',
  'https://metadata.google.internal/',
  'https://receiver.example.com../',
  'https://a..example/',
  'https://-a.example/',
  'https://a-.example/',
  'https://a!b.example/',
  `https://${'a'.repeat(64)}.example/`,
  `https://${'a.'.repeat(130)}example/`,
  `https://a.example/${'a'.repeat(8_192)}`,
])('%j is refused', (url) => expect(() => judgeUrl(url)).toThrow(refused));

test('http is called where that is allowed, on its own port too', () => {
  expect(judgeUrl('http://receiver.example.com/', { allowHttp: true }).href).toBe('http://receiver.example.com/');
  expect(() => judgeUrl('ftp://receiver.example.com/', { allowHttp: true })).toThrow(refused);
});

test('what an operator names is called at the port that is named, whatever the name and the port', () => {
  const allowAddresses = ['hooks:22', 'hooks.corp.internal:443', '10.0.0.1:25', '10.1.0.0/16'];
  for (const url of ['https://hooks:22/', 'https://10.0.0.1:25/', 'https://HOOKS.corp.internal./', 'https://10.1.2.3:8443/'])
    judgeUrl(url, { allowAddresses });
  for (const url of [
    'https://hooks/',
    'https://a.hooks.corp.internal/',
    'https://10.0.0.1/',
    'https://10.0.0.2:25/',
    'https://10.1.2.3:22/',
  ])
    expect(() => judgeUrl(url, { allowAddresses })).toThrow(refused);
});

test('a host that is refused is refused in the same words, whatever was wrong with it', () => {
  const texts = ['https://localhost/', 'https://10.0.0.1/', 'https://[::1]/', 'https://receiver/'].map((url) => {
    try {
      return judgeUrl(url).href;
    } catch (error) {
      return String(error);
    }
  });
  expect(new Set(texts).size).toBe(1);
});
