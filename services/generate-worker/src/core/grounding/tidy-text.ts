/** Stands for what was cut, until its seam is put right; a private character, cut from what models write. */
export const SEAM = '\ue000';

const CJK = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\u3000-\u303f\uff00-\uffef]/u;
const CLOSING = /[.,;:!?%)\]}。，；：！？、）】》」』”’]/u;
const OPENING = /[([{（【《「『“]/u;

/**
 * Puts right what is left around cut marks, and nothing else: marks that are listed (`S, S and S`) count as one, brackets and quotes
 * around nothing go with them, as does a colon that leads to nothing; no space before punctuation, no two spaces, no empty line that
 * was not there. Indentation, tables and code that no mark touched stay as they are.
 */
export function tidySeams(text: string): string {
  const joined = text
    .replace(/\ue000(?:[ \t,;，；、]{0,8}(?:and|&|和|及|与)?[ \t]{0,8}\ue000)+/gu, SEAM)
    .replace(/(?:\(|（|\*\*|"|“)[ \t]{0,8}\ue000[ \t]{0,8}(?:\)|）|\*\*|"|”)/gu, SEAM);
  const out: string[] = [];
  for (const line of joined.split('\n')) {
    if (!line.includes(SEAM)) out.push(line);
    else {
      const tidy = tidyLine(line);
      if (/[^\s>*\-•–]/u.test(tidy)) out.push(tidy);
    }
  }
  return out.join('\n').trim();
}

function tidyLine(line: string): string {
  const [first = '', ...parts] = line.split(SEAM);
  // Only the last piece is looked at and changed: a line of ten thousand marks is not copied ten thousand times.
  const pieces = [first];
  for (const part of parts) {
    const last = pieces.pop()!;
    const left = last.trimEnd();
    const right = part.trimStart();
    // Indentation is not ours to take.
    if (left === '' && pieces.length === 0) pieces.push(last + right);
    else if (right === '' || /^[.!?。！？]/u.test(right)) push(pieces, left.replace(/[ \t]{0,8}[:：,，]$/u, ''), right);
    else if (CLOSING.test(right[0]!) || OPENING.test(left.at(-1)!) || hugs(left, right, last !== left || part !== right))
      push(pieces, left, right);
    else push(pieces, left, ` ${right}`);
  }
  return pieces.join('').trimEnd();
}

/** What goes on after nothing belongs to the piece before. */
function push(pieces: string[], left: string, right: string): void {
  pieces.push(left);
  if (right !== '') pieces.push(right);
}

/** Chinese has no spaces; words that had none around the mark get one, so that they do not run together. */
function hugs(left: string, right: string, hadSpace: boolean): boolean {
  return !hadSpace && (CJK.test(left.at(-1)!) || CJK.test(right[0]!));
}
