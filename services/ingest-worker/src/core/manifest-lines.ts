/** One line of a file of any size. */
export interface Line {
  /** From 1. */
  lineNo: number;
  /** Bytes from the file's beginning to the line's, and to the next line's. */
  offset: number;
  nextOffset: number;
  /** Without its end; null when it is longer than the limit (its bytes were passed over, not kept). */
  bytes: Buffer | null;
}

const NEWLINE = 0x0a;

/**
 * Cuts a stream into lines, holding one line at most. `start` is where the stream begins: a line's offset is a cursor to
 * resume from. The last line needs no newline.
 */
export async function* readLines(
  body: AsyncIterable<Uint8Array>,
  { start, maxLineBytes }: { start: { offset: number; lineNo: number }; maxLineBytes: number },
): AsyncGenerator<Line> {
  let { offset, lineNo } = start;
  let parts: Buffer[] = [];
  let lengthBytes = 0;
  const take = (part: Buffer): void => {
    lengthBytes += part.length;
    if (lengthBytes <= maxLineBytes) parts.push(part);
    else parts = [];
  };
  const finish = (endBytes: number): Line => {
    const bytes = lengthBytes > maxLineBytes ? null : Buffer.concat(parts);
    const line: Line = { lineNo, offset, nextOffset: offset + lengthBytes + endBytes, bytes };
    offset = line.nextOffset;
    lineNo += 1;
    parts = [];
    lengthBytes = 0;
    return line;
  };
  for await (const chunk of body) {
    const buffer = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let from = 0;
    for (let end = buffer.indexOf(NEWLINE); end !== -1; end = buffer.indexOf(NEWLINE, from)) {
      take(buffer.subarray(from, end));
      yield finish(1);
      from = end + 1;
    }
    if (from < buffer.length) take(buffer.subarray(from));
  }
  if (lengthBytes > 0) yield finish(0);
}
