import { matchesNormalised } from './answer-match.ts';
import { answersOf, type SetItem, type SetQuestion } from './question-set.ts';

/** The fewest questions that a form must have for its commonest answer to be one. */
const LEAST = 3;
const HIDDEN = '_';

/**
 * Answers without looking: for each question the one answer, among those of `known` questions of the same form (the words of the
 * question without the item's name, numbers and codes), that is right for most of them; where a form has fewer than three, of the same
 * family and kind, else of all. It is the best that somebody can do who knows the questions and nothing of the catalogue, so that what
 * is above it was read somewhere. A question that is among the known counts for nothing in its own answer. Null where nothing is known.
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
  const tallies = new Map<SetQuestion[], Tally[]>();
  return new Map(
    asked.map((question) => {
      const candidates = namesOf(question).map((name, i) => groups[i]?.get(name) ?? []);
      const others = (group: SetQuestion[]): number => group.filter(({ id }) => id !== question.id).length;
      const group = candidates.find((one) => others(one) >= LEAST) ?? candidates.findLast((one) => others(one) > 0) ?? [];
      const tally = tallies.get(group) ?? tallyOf(group);
      tallies.set(group, tally);
      return [question.id, commonestOf(tally, question.id)];
    }),
  );
}

/** An answer, the questions that it is given to, and those that it is right for. */
interface Tally {
  answer: string;
  givenTo: ReadonlySet<string>;
  rightFor: ReadonlySet<string>;
}

/** By the answers' spelling. */
function tallyOf(group: readonly SetQuestion[]): Tally[] {
  const answers = [...new Set(group.flatMap(({ answer }) => answer ?? []))].sort();
  const idsOf = (some: (question: SetQuestion) => boolean) => new Set(group.filter(some).map(({ id }) => id));
  return answers.map((answer) => ({
    answer: headOf(answer),
    givenTo: idsOf((one) => one.answer === answer),
    rightFor: idsOf((one) => matchesNormalised(headOf(answer), { question: one.question, answers: answersOf(one) })),
  }));
}

/** The answer of another question that is right for most others; of several the first. */
function commonestOf(tally: readonly Tally[], own: string): string | null {
  const without = (ids: ReadonlySet<string>): number => ids.size - (ids.has(own) ? 1 : 0);
  let best: { answer: string; count: number } | null = null;
  for (const { answer, givenTo, rightFor } of tally) {
    const count = without(rightFor);
    if (without(givenTo) > 0 && (!best || count > best.count)) best = { answer, count };
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
