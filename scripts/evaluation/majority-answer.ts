import { matchesNormalised } from './answer-match.ts';
import { answersOf, type SetItem, type SetQuestion } from './question-set.ts';

/** The fewest questions that a form must have for its commonest answer to be one. */
const LEAST = 3;
const HIDDEN = '_';

/**
 * Answers without looking: for each question the one answer, among those of `known` questions of the same form (the words of the
 * question without the item's name, numbers and codes), that is right for most of them; where a form has fewer than three, of the same
 * family and kind, else of all. It is the best that somebody can do who knows the questions and nothing of the catalogue, so that what
 * is above it was read somewhere. Null where nothing is known.
 */
export function majorityAnswers(
  asked: readonly SetQuestion[],
  known: readonly SetQuestion[],
  items: ReadonlyMap<string, SetItem>,
): Map<string, string | null> {
  const answered = known.filter(({ answer }) => answer !== undefined);
  const groups = [
    Map.groupBy(answered, (question) => formOf(question, items)),
    Map.groupBy(answered, ({ family, kind }) => `${family} ${kind}`),
    Map.groupBy(answered, () => ''),
  ];
  const namesOf = (question: SetQuestion) => [formOf(question, items), `${question.family} ${question.kind}`, ''];
  const best = new Map<SetQuestion[], string | null>();
  return new Map(
    asked.map((question) => {
      const candidates = namesOf(question).map((name, i) => groups[i]?.get(name) ?? []);
      const group = candidates.find(({ length }) => length >= LEAST) ?? candidates.findLast(({ length }) => length > 0) ?? [];
      if (!best.has(group)) best.set(group, commonestOf(group));
      return [question.id, best.get(group) ?? null];
    }),
  );
}

/** The answer that is right for most; of several the first by its spelling. */
function commonestOf(group: readonly SetQuestion[]): string | null {
  const answers = [...new Set(group.flatMap(({ answer }) => answer ?? []))].sort();
  const rightFor = (answer: string) =>
    group.filter((one) => matchesNormalised(headOf(answer), { question: one.question, answers: answersOf(one) })).length;
  let best: { answer: string; count: number } | null = null;
  for (const answer of answers) {
    const count = rightFor(answer);
    if (!best || count > best.count) best = { answer: headOf(answer), count };
  }
  return best?.answer ?? null;
}

/** Who only guesses yes or no states no reason that could be wrong. */
function headOf(answer: string): string {
  return /^(?:yes|no|none)(?=[:,])/i.exec(answer)?.[0] ?? answer;
}

function formOf({ question, item_id: itemId, family, kind }: SetQuestion, items: ReadonlyMap<string, SetItem>): string {
  const title = items.get(itemId ?? '')?.title.toLowerCase() ?? '';
  const names = new Set(title.split(/[^\p{L}\p{N}-]+/u).filter((word) => word !== ''));
  const words = question.toLowerCase().split(/[^\p{L}\p{N}-]+/u);
  return `${family} ${kind} ${words.map((word) => (names.has(word) || /\p{N}/u.test(word) ? HIDDEN : word)).join(' ')}`;
}
