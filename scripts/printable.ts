/** Escape sequences, line ends and marks that turn the writing round: in a title or a file's name they would steer the terminal. */
const STEERING = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** A stranger's text as it can be printed on one line of a terminal: what steers becomes `�`. */
export function printable(text: string): string {
  return text.replaceAll(STEERING, '\ufffd');
}

/** As `printable`, of text that has lines. */
export function printableLines(text: string): string {
  return text
    .split(/\r?\n/)
    .map((line) => printable(line.replaceAll('\t', '  ')))
    .join('\n');
}
