import type { QuestionRequest } from '@sightline/shared/contracts/question-http';
import type { Filter } from '@sightline/shared/contracts/filter';
import type { SetItem, SetQuestion } from './question-set.ts';

/** A way of answering that stands as a line in the table. */
export interface System {
  name: string;
  title: string;
  about: string;
  /** Of the stack that it is asked: the set as it is, or with its pictures shuffled; null: no stack. */
  stack: 'set' | 'shuffled' | null;
  /** Also asked in the other language, and told of in every slice. */
  isWhole: boolean;
  /** Also asked what has no answer. */
  mayRefuse: boolean;
  /** What is asked besides the words and the question's own filter. `everything`: a filter that all items pass. */
  ask: (question: SetQuestion, everything: Filter | null) => Partial<QuestionRequest>;
}

export const WHOLE = 'whole';

/** The whole pipeline, what it is held against, and what tells why it is better. */
export const SYSTEMS: readonly System[] = [
  {
    name: 'text_only',
    title: 'Text-only RAG',
    about: 'Text space, keywords and exact codes; the model reads the records and sees no picture.',
    stack: 'set',
    isWhole: false,
    mayRefuse: true,
    ask: () => ({ mode: 'text', max_images: 0 }),
  },
  {
    name: 'clip_text',
    title: 'CLIP retrieval, answers from text',
    about:
      "The words carried into the pictures' space find the item; the model reads its record and sees no picture. It is asked also where nothing matches.",
    stack: 'set',
    isWhole: false,
    mayRefuse: false,
    // With a filter the nearest are looked at, however far: a calibrated "nothing matches" is not the article's.
    ask: ({ filter }, everything) => ({
      mode: 'visually_similar',
      max_images: 0,
      ...(everything && { filter: { ...everything, ...filter } }),
    }),
  },
  {
    name: WHOLE,
    title: 'The whole pipeline',
    about: 'All legs, and the model sees the pictures that were found.',
    stack: 'set',
    isWhole: true,
    mayRefuse: true,
    ask: () => ({}),
  },
  {
    name: 'withheld',
    title: 'The same, pictures withheld',
    about: 'The same sources and the same model, without pictures.',
    stack: 'set',
    isWhole: false,
    mayRefuse: false,
    ask: () => ({ max_images: 0 }),
  },
  {
    name: 'given',
    title: 'The right picture given',
    about: 'Only the item that has the answer can be found: what is still wrong is not the retrieval.',
    stack: 'set',
    isWhole: false,
    mayRefuse: false,
    ask: ({ item_id: itemId, filter }) => ({ k: 1, ...(itemId !== undefined && { filter: { ...filter, item_id: itemId } }) }),
  },
  {
    name: 'shuffled',
    title: 'The same, pictures shuffled',
    about: "Each item has another's picture of its family: what is still right was not read in the picture.",
    stack: 'shuffled',
    isWhole: false,
    mayRefuse: false,
    ask: () => ({}),
  },
];

/** The words and settings of a question to a system. Greedy, so that the same question has the same answer. */
export function requestOf(
  system: System,
  question: SetQuestion,
  {
    language,
    everything,
    seed,
    adapter,
  }: { language: 'en' | 'zh'; everything: Filter | null; seed: number; adapter: string | null },
): QuestionRequest {
  return {
    question: (language === 'zh' ? question.question_zh : question.question) ?? '',
    ...(question.filter && { filter: question.filter }),
    show_steps: question.show_steps,
    ...(adapter !== null && { adapter }),
    temperature: 0,
    seed,
    ...system.ask(question, everything),
  };
}

const MOST_VALUES = 1_000;

/** A filter that every item passes: all the values of an attribute that each has one of, else all ids; null where there are too many. */
export function filterOfAll(items: ReadonlyMap<string, SetItem>): Filter | null {
  const all = [...items.values()];
  for (const name of Object.keys(all[0]?.attributes ?? {})) {
    const values = all.map(({ attributes }) => attributes[name]);
    const texts = [...new Set(values.filter((value) => typeof value === 'string'))];
    if (values.every((value) => typeof value === 'string') && texts.length <= MOST_VALUES) return { [name]: texts };
  }
  return all.length > 0 && all.length <= MOST_VALUES ? { item_id: [...items.keys()] } : null;
}
