import type { Ledger } from '@sightline/shared/ports/ledger';
import type { Question } from '@sightline/shared/ports/question-ledger';
import { FINAL_QUESTION_STATUSES } from './question-view.ts';

const PAGE = 500;
const SEQ = /^[1-9]\d{0,14}$/;

/**
 * After which of a question's events a listener goes on that was told `lastEventId` before: 0 is from the beginning, which is also
 * where one goes that names none of them; null when it was told `done`.
 */
export async function resumeAfter(
  ledger: Pick<Ledger, 'questionEvents'>,
  { tenant, questionId, status }: Pick<Question, 'tenant' | 'questionId' | 'status'>,
  lastEventId: string | undefined,
): Promise<number | null> {
  if (!lastEventId) return 0;
  if (SEQ.test(lastEventId)) {
    const seq = Number(lastEventId);
    // One that was never told would be waited behind for ever.
    const [told] = await ledger.questionEvents(tenant, questionId, { after: seq - 1, limit: 1 });
    return told?.seq === seq && told.data.type !== 'done' ? seq : 0;
  }
  if (!FINAL_QUESTION_STATUSES.includes(status)) return 0;
  for (let after = 0; ;) {
    const page = await ledger.questionEvents(tenant, questionId, { after, limit: PAGE });
    if (page.some(({ data }) => data.type === 'done' && data.eventId === lastEventId)) return null;
    if (page.length < PAGE) return 0;
    after = page.at(-1)?.seq ?? after;
  }
}
