interface Ruler {
  /** Tokens that a passage may have. */
  room: number;
  /** The encoder's own tokenizer, special tokens not counted. */
  count: (text: string) => number;
}

/**
 * Cuts a text into passages that the encoder takes whole: whole sentences while they fit, words where a sentence does not,
 * characters where a word does not. At least one passage for a text that has more than white space.
 */
export function splitPassages(text: string, ruler: Ruler): string[] {
  const passages: string[] = [];
  let current = '';
  let used = 0;
  const close = () => {
    passages.push(...halveUntilFits(current.trim(), ruler));
    [current, used] = ['', 0];
  };
  const add = (piece: string, [finer, ...finest]: ((piece: string) => Iterable<string>)[]) => {
    const tokens = ruler.count(piece);
    if (tokens > ruler.room && finer) {
      for (const part of finer(piece)) add(part, finest);
      return;
    }
    if (used + tokens > ruler.room) close();
    current += piece;
    used += tokens;
  };
  for (const sentence of sentences(text)) add(sentence, [words, (word) => word]);
  close();
  return passages;
}

/** Pieces counted alone can come out a token apart from the joined text; only the joined count is the truth. */
function halveUntilFits(passage: string, ruler: Ruler): string[] {
  if (passage === '') return [];
  if (passage.length === 1 || ruler.count(passage) <= ruler.room) return [passage];
  const space = passage.lastIndexOf(' ', passage.length / 2);
  let middle = space > 0 ? space : Math.floor(passage.length / 2);
  if (/[\udc00-\udfff]/.test(passage[middle]!)) middle++;
  return [...halveUntilFits(passage.slice(0, middle).trim(), ruler), ...halveUntilFits(passage.slice(middle).trim(), ruler)];
}

const sentenceSegmenter = new Intl.Segmenter(undefined, { granularity: 'sentence' });
const wordSegmenter = new Intl.Segmenter(undefined, { granularity: 'word' });

function* sentences(text: string): Iterable<string> {
  for (const { segment } of sentenceSegmenter.segment(text)) yield segment;
}

/** Words with the punctuation and space that follow them: a space counted alone would cost a token that it does not have. */
function* words(text: string): Iterable<string> {
  let word = '';
  for (const { segment, isWordLike } of wordSegmenter.segment(text)) {
    if (isWordLike && word) {
      yield word;
      word = '';
    }
    word += segment;
    if (word.length > 64) {
      yield word;
      word = '';
    }
  }
  if (word) yield word;
}
