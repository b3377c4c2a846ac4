const CITATION = /\[(\d{1,2})\]/g;
const STEP = /^(\d{1,2})\. /;
/** Boxes, which a finished answer has no more, and the beginning of a mark whose end has not come yet. */
const BOXES = /[ \t]?\[\[[\s\d.,;-]*(?:\][\s,;]*\[[\s\d.,;-]*)*\]\]/g;
const BEGUN = /[ \t]?(?:\[\[[\s\d.,;[\]-]*|\[[\s\d.,;-]*)$/;
/** No mark is longer. BEGUN tries every bracket of what it is given: over a whole answer of them the page would stand still. */
const LONGEST_MARK = 2_000;

/** An answer that is still being written, as far as it can be shown. */
export function textSoFar(text) {
  const whole = text.replace(BOXES, '');
  return whole.slice(0, -LONGEST_MARK) + whole.slice(-LONGEST_MARK).replace(BEGUN, '');
}

/**
 * A finished answer in blocks, paragraphs and steps, for who makes nodes of them: `{ step, parts }`, `step` null for a paragraph. A
 * part is a claim, or what lies between two: `{ verdict, pieces }`, and a piece is `{ text }` or a citation, `{ text, n }`. `sources`:
 * the numbers that are citations; other brackets are text.
 */
export function answerBlocks({ answer, steps, claims }, sources) {
  const spans = spansOf(answer, claims);
  return blocksOf(answer, steps !== null).map(({ step, start, end }) => ({
    step,
    parts: partsOf(spans, start, end).map(({ verdict, from, to }) => ({
      verdict,
      pieces: piecesOf(answer.slice(from, to), sources),
    })),
  }));
}

/** Where the claims stand, which are in the order of the text; one that is not found is left out. */
function spansOf(answer, claims) {
  let at = 0;
  return claims.flatMap(({ text, verdict }) => {
    const start = text === '' ? -1 : answer.indexOf(text, at);
    if (start < 0) return [];
    at = start + text.length;
    return [{ verdict, start, end: at }];
  });
}

/** A step goes on to the next one or to an empty line; without steps numbered lines are text. */
function blocksOf(answer, hasSteps) {
  const blocks = [];
  let open = null;
  let offset = 0;
  for (const line of answer.split('\n')) {
    const mark = hasSteps ? STEP.exec(line) : null;
    if (line.trim() === '') open = null;
    else if (mark) blocks.push((open = { step: Number(mark[1]), start: offset + mark[0].length, end: offset + line.length }));
    else if (open) open.end = offset + line.length;
    else blocks.push((open = { step: null, start: offset, end: offset + line.length }));
    offset += line.length + 1;
  }
  return blocks;
}

function partsOf(spans, start, end) {
  const parts = [];
  let at = start;
  for (const span of spans) {
    const from = Math.max(at, span.start);
    const to = Math.min(end, span.end);
    if (from >= to) continue;
    if (from > at) parts.push({ verdict: null, from: at, to: from });
    parts.push({ verdict: span.verdict, from, to });
    at = to;
  }
  if (at < end) parts.push({ verdict: null, from: at, to: end });
  return parts;
}

function piecesOf(text, sources) {
  const pieces = [];
  let at = 0;
  for (const match of text.matchAll(CITATION)) {
    const n = Number(match[1]);
    if (!sources.includes(n)) continue;
    if (match.index > at) pieces.push({ text: text.slice(at, match.index) });
    pieces.push({ text: match[0], n });
    at = match.index + match[0].length;
  }
  if (at < text.length) pieces.push({ text: text.slice(at) });
  return pieces;
}
