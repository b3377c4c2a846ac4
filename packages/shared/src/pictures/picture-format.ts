import { isUtf8 } from 'node:buffer';
import { SightlineError } from '../runtime/errors.ts';

/** The formats decoded here. */
export type PictureFormat = 'jpeg' | 'png' | 'webp' | 'gif' | 'tiff' | 'avif';

type Verdict =
  | PictureFormat
  | {
      code:
        | 'picture_format_unsupported'
        | 'picture_is_video'
        | 'picture_is_document'
        | 'picture_is_vector'
        | 'picture_is_archive'
        | 'picture_is_text';
      name: string;
    };

const HEIF_BRANDS = new Set(['heic', 'heix', 'hevc', 'hevx', 'heim', 'heis', 'hevm', 'hevs', 'mif1', 'msf1', 'miaf']);

/** Signatures at a fixed offset, most specific first. Sources: the formats' own specifications. */
const SIGNATURES: [offset: number, bytes: string, verdict: Verdict][] = [
  [0, '\xff\xd8\xff', 'jpeg'],
  [0, '\x89PNG\r\n\x1a\n', 'png'],
  [0, 'GIF87a', 'gif'],
  [0, 'GIF89a', 'gif'],
  [0, '\x00\x00\x00\x0cJXL \r\n\x87\n', { code: 'picture_format_unsupported', name: 'JPEG XL' }],
  [0, '\xff\x0a', { code: 'picture_format_unsupported', name: 'JPEG XL' }],
  [0, '\x00\x00\x00\x0cjP  ', { code: 'picture_format_unsupported', name: 'JPEG 2000' }],
  [0, '\xff\x4f\xff\x51', { code: 'picture_format_unsupported', name: 'JPEG 2000' }],
  [0, 'II\xbc', { code: 'picture_format_unsupported', name: 'JPEG XR' }],
  [8, 'CR\x02', { code: 'picture_format_unsupported', name: 'Canon raw' }],
  [0, 'IIRO', { code: 'picture_format_unsupported', name: 'Olympus raw' }],
  [0, 'IIU\x00', { code: 'picture_format_unsupported', name: 'Panasonic raw' }],
  [0, 'II*\x00', 'tiff'],
  [0, 'MM\x00*', 'tiff'],
  [0, 'II+\x00', 'tiff'],
  [0, 'MM\x00+', 'tiff'],
  [0, '8BPS', { code: 'picture_format_unsupported', name: 'Photoshop' }],
  [0, 'gimp xcf', { code: 'picture_format_unsupported', name: 'GIMP' }],
  [0, '\x00\x00\x01\x00', { code: 'picture_format_unsupported', name: 'ICO' }],
  [0, '\x00\x00\x02\x00', { code: 'picture_format_unsupported', name: 'CUR' }],
  [0, 'DDS ', { code: 'picture_format_unsupported', name: 'DDS' }],
  [0, 'v/1\x01', { code: 'picture_format_unsupported', name: 'OpenEXR' }],
  [0, '#?RADIANCE', { code: 'picture_format_unsupported', name: 'Radiance HDR' }],
  [0, 'qoif', { code: 'picture_format_unsupported', name: 'QOI' }],
  [0, 'SIMPLE  =', { code: 'picture_format_unsupported', name: 'FITS' }],
  [128, 'DICM', { code: 'picture_format_unsupported', name: 'DICOM' }],
  [0, '\xd7\xcd\xc6\x9a', { code: 'picture_is_vector', name: 'WMF' }],
  [0, '%!PS', { code: 'picture_is_vector', name: 'PostScript' }],
  [0, '\xc5\xd0\xd3\xc6', { code: 'picture_is_vector', name: 'EPS' }],
  [0, '%PDF-', { code: 'picture_is_document', name: 'PDF' }],
  [0, '\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1', { code: 'picture_is_document', name: 'an Office document' }],
  [0, '{\\rtf', { code: 'picture_is_document', name: 'RTF' }],
  [0, 'AT&TFORM', { code: 'picture_is_document', name: 'DjVu' }],
  [0, '\x1f\x8b', { code: 'picture_is_archive', name: 'gzip' }],
  [0, 'Rar!\x1a\x07', { code: 'picture_is_archive', name: 'RAR' }],
  [0, '7z\xbc\xaf\x27\x1c', { code: 'picture_is_archive', name: '7z' }],
  [0, 'BZh', { code: 'picture_is_archive', name: 'bzip2' }],
  [0, '\xfd7zXZ\x00', { code: 'picture_is_archive', name: 'xz' }],
  [0, '\x28\xb5\x2f\xfd', { code: 'picture_is_archive', name: 'zstd' }],
  [257, 'ustar', { code: 'picture_is_archive', name: 'tar' }],
  [0, '\x1aE\xdf\xa3', { code: 'picture_is_video', name: 'Matroska or WebM' }],
  [0, 'FLV\x01', { code: 'picture_is_video', name: 'FLV' }],
  [0, '\x00\x00\x01\xba', { code: 'picture_is_video', name: 'MPEG' }],
  [0, '\x00\x00\x01\xb3', { code: 'picture_is_video', name: 'MPEG' }],
  [0, 'OggS', { code: 'picture_is_video', name: 'Ogg' }],
  [0, 'ID3', { code: 'picture_is_video', name: 'MP3' }],
  [0, 'fLaC', { code: 'picture_is_video', name: 'FLAC' }],
];

/**
 * What the bytes are, by their signature alone: names and MIME types lie, so a PNG called .jpg is a PNG.
 * Errors: `picture_empty`; a code that names what else the file is; `picture_not_a_picture` when nothing is recognised.
 */
export function detectPictureFormat(bytes: Uint8Array): PictureFormat {
  if (bytes.length === 0) throw new SightlineError('picture_empty');
  const verdict = judge(bytes);
  if (verdict === null) throw new SightlineError('picture_not_a_picture');
  if (typeof verdict === 'string') return verdict;
  throw new SightlineError(verdict.code, `It is ${verdict.name}.`);
}

function judge(bytes: Uint8Array): Verdict | null {
  const head = latin1(bytes, 0, 1024);
  for (const [offset, signature, verdict] of SIGNATURES) if (head.startsWith(signature, offset)) return verdict;
  if (head.startsWith('RIFF')) return judgeRiff(head.slice(8, 12));
  if (head.slice(4, 8) === 'ftyp') return judgeBaseMedia(head);
  if (['moov', 'mdat', 'wide', 'free'].includes(head.slice(4, 8))) return { code: 'picture_is_video', name: 'QuickTime' };
  if (head.startsWith('PK\x03\x04') || head.startsWith('PK\x05\x06')) return judgeZip(head);
  // BMP's two letters are too little alone: the size of its second header follows at 14.
  if (head.startsWith('BM') && [12, 40, 52, 56, 64, 108, 124].includes(bytes[14] ?? 0))
    return { code: 'picture_format_unsupported', name: 'BMP' };
  if (/^P[1-7FfH][\s#]/.test(head)) return { code: 'picture_format_unsupported', name: 'a Netpbm picture' };
  return judgeText(head, isUtf8(bytes.subarray(0, lastWholeCharacter(bytes))));
}

function judgeRiff(kind: string): Verdict | null {
  if (kind === 'WEBP') return 'webp';
  if (kind === 'AVI ') return { code: 'picture_is_video', name: 'AVI' };
  if (kind === 'WAVE') return { code: 'picture_is_video', name: 'WAV' };
  return null;
}

/** ISO base media files: the major brand, then the compatible ones, say whether it is AVIF, HEIC or a film. */
function judgeBaseMedia(head: string): Verdict {
  const size = (head.charCodeAt(0) << 24) | (head.charCodeAt(1) << 16) | (head.charCodeAt(2) << 8) | head.charCodeAt(3);
  const brands = [head.slice(8, 12)];
  for (let at = 16; at + 4 <= Math.min(size, 256); at += 4) brands.push(head.slice(at, at + 4));
  if (brands.includes('avif')) return 'avif';
  if (brands.includes('avis')) return { code: 'picture_format_unsupported', name: 'an animated AVIF' };
  if (HEIF_BRANDS.has(brands[0] ?? '')) return { code: 'picture_format_unsupported', name: 'HEIC' };
  if (brands[0] === 'crx ') return { code: 'picture_format_unsupported', name: 'Canon raw' };
  return { code: 'picture_is_video', name: 'MP4 or QuickTime' };
}

function judgeZip(head: string): Verdict {
  const office = head.includes('[Content_Types].xml') || head.includes('mimetypeapplication/') || head.includes('_rels/');
  return office ? { code: 'picture_is_document', name: 'an Office document' } : { code: 'picture_is_archive', name: 'ZIP' };
}

function judgeText(head: string, isUnicode: boolean): Verdict | null {
  // UTF-16 is looked at without its zeros; a byte order mark is skipped.
  const text = (
    /^(\xff\xfe|\xfe\xff)/.test(head) ? head.slice(2).replaceAll('\0', '') : head.replace(/^\xef\xbb\xbf/, '')
  ).trimStart();
  if (/^(<\?xml[^>]*>\s*)?(<!--[\s\S]*?-->\s*)*(<!DOCTYPE svg[\s\S]*|<svg[\s>:])/i.test(text))
    return { code: 'picture_is_vector', name: 'SVG' };
  if (text.startsWith('<') && /<svg[\s>]/i.test(text) && !/<html/i.test(text)) return { code: 'picture_is_vector', name: 'SVG' };
  const isText = isUnicode || /^(\xff\xfe|\xfe\xff)/.test(head);
  if (isText && text.length > 0 && !/[\x00-\x08\x0e-\x1a\x1c-\x1f]/.test(text)) {
    return { code: 'picture_is_text', name: /<(!doctype html|html|head|body)/i.test(text) ? 'a web page' : 'text' };
  }
  return null;
}

/** Up to 1,024 bytes, not cutting a UTF-8 character. */
function lastWholeCharacter(bytes: Uint8Array): number {
  let end = Math.min(bytes.length, 1024);
  while (end > 0 && end < bytes.length && (bytes[end]! & 0xc0) === 0x80) end--;
  return end;
}

function latin1(bytes: Uint8Array, from: number, to: number): string {
  return String.fromCharCode(...bytes.subarray(from, to));
}
