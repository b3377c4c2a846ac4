import { analyseQuery, codesIn } from '@sightline/shared/retrieval/analyser';
import { splitSentences } from './sentences.ts';

const MAX_QUOTE_CHARS = 300;
/** More of a source than any prompt shows is not looked through. */
const MAX_SOURCE_CHARS = 20_000;
/** A code says more than a word. */
const CODE_WEIGHT = 3;
const NUMBER_WEIGHT = 2;

/**
 * The span of a source that carries what was said with its citation, word for word and at most 300 characters: the sentence, or two
 * or three that follow each other, which hold most of its keywords; of equals the shortest, then the first. Null where the source has
 * no words, or shares none with what was said, so that nothing in it can be the place.
 */
export function findQuote(said: string[], source: string): string | null {
  const text = source.slice(0, MAX_SOURCE_CHARS).replace(/[\ud800-\udbff]$/, '');
  const weights = keywordWeights(said.join('\n'));
  let best: { score: number; from: number; to: number } | null = null;
  for (const { from, to } of spans(text)) {
    let score = 0;
    for (const keyword of new Set(analyseQuery(text.slice(from, to)))) score += weights.get(keyword) ?? 0;
    if (score > 0 && (!best || score > best.score || (score === best.score && to - from < best.to - best.from)))
      best = { score, from, to };
  }
  return best && text.slice(best.from, best.to);
}

function keywordWeights(said: string): Map<string, number> {
  const plain = said.replace(/\[\d{1,2}\]/g, ' ');
  const codes = new Set(codesIn(plain));
  return new Map(
    analyseQuery(plain).map((keyword) => [keyword, codes.has(keyword) ? CODE_WEIGHT : /^\d/.test(keyword) ? NUMBER_WEIGHT : 1]),
  );
}

/** Sentences, runs of up to three within the bound, and pieces of sentences that are longer than it. */
function spans(text: string): { from: number; to: number }[] {
  const found: { from: number; to: number }[] = [];
  const sentences = splitSentences(text);
  sentences.forEach(({ start, end }, i) => {
    if (end - start > MAX_QUOTE_CHARS) found.push(...windows(text, start, end));
    else {
      for (const last of sentences.slice(i, i + 3))
        if (last.end - start <= MAX_QUOTE_CHARS) found.push({ from: start, to: last.end });
    }
  });
  return found;
}

/** Overlapping by half, cut between words where there are any. */
function windows(text: string, start: number, end: number): { from: number; to: number }[] {
  const found: { from: number; to: number }[] = [];
  for (let at = start; at < end; at += MAX_QUOTE_CHARS / 2) {
    let [from, to] = [at, Math.min(end, at + MAX_QUOTE_CHARS)];
    if (from > start) from = wordBoundary(text, from, Math.min(to, from + 40), 1);
    if (to < end) to = wordBoundary(text, to, Math.max(from + 1, to - 40), -1);
    while (from < to && /\s/.test(text[from]!)) from++;
    while (to > from && /\s/.test(text[to - 1]!)) to--;
    if (to > from) found.push({ from, to });
    if (at + MAX_QUOTE_CHARS >= end) break;
  }
  return found;
}

function wordBoundary(text: string, at: number, bound: number, step: 1 | -1): number {
  for (let i = at; i !== bound; i += step) if (/\s/.test(text[i]!)) return i;
  // Never through a surrogate pair.
  return /[\udc00-\udfff]/.test(text[at] ?? '') ? at + step : at;
}
