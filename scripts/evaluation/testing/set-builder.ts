import type { SetQuestion } from '../question-set.ts';

export function newQuestion(more: Partial<SetQuestion> = {}): SetQuestion {
  return {
    id: 'q1',
    kind: 'picture',
    question: 'How many pins has it?',
    answer: '4',
    accepted: [],
    item_id: 'item-1',
    boxes: [],
    family: 'connector',
    unanswerable: false,
    show_steps: false,
    ...more,
  };
}
