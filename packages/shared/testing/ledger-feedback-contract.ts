import { expect, test } from '@jest/globals';
import { MAX_REVIEWS, REVIEWED_PAGE_CHARS, type KeptPrompt } from '../src/contracts/feedback.ts';
import type { Ledger } from '../src/ports/ledger.ts';
import { newAsked, newMessage, newPrompt, newResult, newReview, ODD_TEXT } from './question-builder.ts';

/** What every Ledger does with reviews of answers: a part of ledgerContract. */
export function ledgerFeedbackContract(ledgerOf: () => Ledger): void {
  const answer = async (
    questionId: string,
    { tenant = 't', at = 20, prompt }: { tenant?: string; at?: number; prompt?: KeptPrompt } = {},
  ): Promise<void> => {
    const question = { questionId, tenant, traceId: 'x', asked: newAsked(), createdAt: 5 };
    await ledgerOf().createQuestion(question, { maxBacklog: 1_000 });
    await ledgerOf().takeQuestion(questionId, { token: 'w', claimMs: 100, at: 10 });
    const message = newMessage(`m-${questionId}`, { tenant, subject: questionId, at });
    const end = {
      status: 'answered' as const,
      at,
      events: [],
      message,
      result: newResult(),
      citedAssets: [],
      ...(prompt && { prompt }),
    };
    expect(await ledgerOf().finishQuestion(questionId, 'w', end)).not.toBeNull();
  };
  const put = (questionId: string, more: Parameters<typeof newReview>[0] = {}, tenant = 't') =>
    ledgerOf().putReview(tenant, questionId, newReview(more));
  const list = async (options: Partial<Parameters<Ledger['listReviewed']>[1]> = {}, tenant = 't') => {
    const { reviewed, ...rest } = await ledgerOf().listReviewed(tenant, { limit: 99, ...options });
    return { ids: reviewed.map(({ question }) => question.questionId), ...rest };
  };

  test('a review is kept with the question and the prompt of its answer, word for word', async () => {
    const prompt = newPrompt({ system: ODD_TEXT, content: [ODD_TEXT, 0, ''] });
    await answer('q1', { prompt });
    const said = newReview({
      reviewer: ODD_TEXT.slice(0, 40),
      correctedAnswer: ODD_TEXT,
      correctedBoxes: [{ source: 1, label: ODD_TEXT, pixels: [0, 1, 2, 3] }],
      note: '',
    });
    expect(await ledgerOf().putReview('t', 'q1', said)).toEqual([said]);
    const question = await ledgerOf().getQuestion('t', 'q1');
    expect(await ledgerOf().getReviewed('t', 'q1')).toEqual({ question, reviews: [said], prompt });
    expect((await ledgerOf().listReviewed('t', { limit: 9 })).reviewed).toEqual([{ question, reviews: [said], prompt }]);
  });

  test('an answer that nobody reviewed has no reviews, and one that no model made no prompt', async () => {
    await answer('q1');
    expect(await ledgerOf().getReviewed('t', 'q1')).toMatchObject({ question: { questionId: 'q1' }, reviews: [], prompt: null });
    expect(await ledgerOf().getReviewed('t', 'none')).toBeNull();
    expect(await list()).toEqual({ ids: [], nextCursor: null, total: 0 });
  });

  test('of each reviewer the latest counts, and what says the same leaves its time', async () => {
    await answer('q1');
    await put('q1', { reviewer: 'ann', verdict: 'wrong', reviewedAt: 30 });
    await put('q1', { reviewer: 'bob', verdict: 'right', reviewedAt: 40 });
    const times = async () => (await ledgerOf().getReviewed('t', 'q1'))?.reviews.map((one) => [one.reviewer, one.reviewedAt]);
    await put('q1', { reviewer: 'ann', verdict: 'wrong', reviewedAt: 50 });
    expect(await times()).toEqual([['ann', 30], ['bob', 40]]); // prettier-ignore
    const reviews = await put('q1', { reviewer: 'ann', verdict: 'right', reviewedAt: 60 });
    expect(reviews?.map(({ reviewer, verdict }) => [reviewer, verdict])).toEqual([['bob', 'right'], ['ann', 'right']]); // prettier-ignore
    expect(await list({ since: 60 })).toEqual({ ids: ['q1'], nextCursor: null, total: 1 });
    // A clock that is behind puts none before a later one.
    await put('q1', { reviewer: 'cy', reviewedAt: 45 });
    expect((await list({ since: 60 })).ids).toEqual(['q1']);
    expect(await times()).toEqual([['bob', 40], ['cy', 45], ['ann', 60]]); // prettier-ignore
  });

  test("what is not answered, not there or another tenant's takes no review", async () => {
    const question = { questionId: 'q1', tenant: 't', traceId: 'x', asked: newAsked(), createdAt: 5 };
    await ledgerOf().createQuestion(question, { maxBacklog: 9 });
    await expect(put('q1')).rejects.toMatchObject({ code: 'question_state', detail: 'It is queued.' });
    await ledgerOf().cancelQuestion('t', 'q1', { eventId: 'e', at: 9 });
    await expect(put('q1')).rejects.toMatchObject({ code: 'question_state' });
    await answer('q2');
    expect(await put('q2', {}, 'u')).toBeNull();
    expect(await put('none')).toBeNull();
    expect(await ledgerOf().getReviewed('u', 'q2')).toBeNull();
    expect((await ledgerOf().getReviewed('t', 'q2'))?.reviews).toEqual([]);
    await put('q2');
    expect(await list({}, 'u')).toEqual({ ids: [], nextCursor: null, total: 0 });
  });

  test('a question takes reviews of so many reviewers, who may change theirs', async () => {
    await answer('q1');
    for (let n = 0; n < MAX_REVIEWS; n++) await put('q1', { reviewer: `r${n}` });
    await expect(put('q1', { reviewer: 'late' })).rejects.toMatchObject({ code: 'feedback_full' });
    const reviews = await put('q1', { reviewer: 'r0', verdict: 'right' });
    expect(reviews).toHaveLength(MAX_REVIEWS);
  });

  test('reviewed questions are listed by their latest review, page by page, each tenant its own', async () => {
    for (const [n, at] of [70, 50, 60, 50].entries()) {
      await answer(`q${n}`);
      await put(`q${n}`, { reviewedAt: at });
    }
    await answer('other', { tenant: 'u' });
    await put('other', { reviewedAt: 55 }, 'u');
    await answer('bare');
    expect(await list()).toEqual({ ids: ['q1', 'q3', 'q2', 'q0'], nextCursor: null, total: 4 });
    const first = await list({ limit: 2 });
    expect(first).toEqual({ ids: ['q1', 'q3'], nextCursor: expect.any(String), total: 4 });
    // Reviewed again, it comes again at its new place.
    await put('q1', { reviewer: 'second', reviewedAt: 90 });
    expect(await list({ limit: 9, after: first.nextCursor! })).toEqual({
      ids: ['q2', 'q0', 'q1'],
      nextCursor: null,
      total: null,
    });
    expect(await list({ since: 60 })).toEqual({ ids: ['q2', 'q0', 'q1'], nextCursor: null, total: 3 });
    await expect(list({ after: 'none of ours' })).rejects.toMatchObject({ code: 'request_invalid' });
  });

  test('a page of long prompts ends before its limit, and goes on from its cursor', async () => {
    const prompt = newPrompt({ system: 'x'.repeat(REVIEWED_PAGE_CHARS * 0.6) });
    for (const id of ['q1', 'q2', 'q3', 'q4', 'q5']) {
      await answer(id, { prompt });
      await put(id, { reviewedAt: 50 });
    }
    const first = await list({ limit: 5 });
    expect(first).toEqual({ ids: ['q1', 'q2'], nextCursor: expect.any(String), total: 5 });
    const second = await list({ limit: 5, after: first.nextCursor! });
    expect(second).toEqual({ ids: ['q3', 'q4'], nextCursor: expect.any(String), total: null });
    expect(await list({ limit: 5, after: second.nextCursor! })).toEqual({ ids: ['q5'], nextCursor: null, total: null });
  });

  test('what was reviewed stays beyond the time of other answers, and goes at its own with all of it', async () => {
    for (const [id, at] of [['q1', 20], ['q2', 30], ['q3', 40]] as const) await answer(id, { at, prompt: newPrompt() }); // prettier-ignore
    await put('q2', { reviewedAt: 50 });
    await put('q1', { reviewedAt: 70 });
    const prune = async (before: number, reviewedBefore: number, limit = 9) =>
      (await ledgerOf().pruneQuestions({ before, reviewedBefore, at: 99, limit })).map(({ questionId }) => questionId);
    expect(await prune(90, 20)).toEqual(['q3']);
    expect((await list()).ids).toEqual(['q2', 'q1']);
    expect(await prune(90, 90, 1)).toEqual(['q1']);
    expect(await ledgerOf().getReviewed('t', 'q1')).toBeNull();
    expect((await list()).ids).toEqual(['q2']);
    expect(await prune(0, 90)).toEqual(['q2']);
    expect(await list()).toEqual({ ids: [], nextCursor: null, total: 0 });
    // Of a question of the same id nothing is left over.
    await answer('q1');
    expect(await ledgerOf().getReviewed('t', 'q1')).toMatchObject({ reviews: [], prompt: null });
  });

  test("a tenant's reviews and prompts go with the tenant", async () => {
    for (const tenant of ['t', 'u']) {
      await answer(`of-${tenant}`, { tenant, prompt: newPrompt() });
      await put(`of-${tenant}`, {}, tenant);
    }
    await ledgerOf().deleteTenant('t');
    expect(await list()).toEqual({ ids: [], nextCursor: null, total: 0 });
    expect(await ledgerOf().getReviewed('t', 'of-t')).toBeNull();
    expect((await list({}, 'u')).ids).toEqual(['of-u']);
    await answer('of-t');
    expect(await ledgerOf().getReviewed('t', 'of-t')).toMatchObject({ reviews: [], prompt: null });
  });
}
