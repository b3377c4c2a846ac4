import { expect, test } from '@jest/globals';
import type { AskedQuestion, QuestionEventData } from '../src/contracts/questions.ts';
import type { Ledger } from '../src/ports/ledger.ts';
import type { Question, QuestionEnd, QuestionStatus } from '../src/ports/question-ledger.ts';
import type { OutboxMessage } from '../src/ports/webhook-ledger.ts';
import { newAsked, newCitation, newMessage, newResult, newWebhook, ODD_TEXT } from './question-builder.ts';

/** What every Ledger does with questions: a part of ledgerContract. */
export function ledgerQuestionContract(ledgerOf: () => Ledger, openAgain: () => Promise<Ledger>): void {
  const create = (
    questionId: string,
    more: { tenant?: string; createdAt?: number; asked?: AskedQuestion; maxBacklog?: number; maxOfTenant?: number } = {},
    idempotency?: { key: string; digest: string; keepUntil: number },
  ) => {
    const { tenant = 't', createdAt = 5, asked = newAsked(), maxBacklog = 1_000, maxOfTenant } = more;
    const question = { questionId, tenant, traceId: `trace of ${questionId}`, asked, createdAt };
    return ledgerOf().createQuestion(question, {
      maxBacklog,
      ...(maxOfTenant !== undefined && { maxOfTenant }),
      ...(idempotency ? { idempotency } : {}),
    });
  };
  const take = (questionId: string, token = 'w1', at = 10, claimMs = 100) =>
    ledgerOf().takeQuestion(questionId, { token, claimMs, at });
  const answered = (more: Partial<Extract<QuestionEnd, { status: 'answered' }>> = {}): QuestionEnd => ({
    at: 20,
    events: [],
    message: newMessage('m1'),
    status: 'answered',
    result: newResult(),
    citedAssets: ['asset-1'],
    ...more,
  });
  const failed = (messageId: string, at = 20): QuestionEnd => ({
    at,
    events: [],
    message: newMessage(messageId, { type: 'question.failed' }),
    status: 'failed',
    error: { code: 'internal', detail: null },
  });
  /** From nothing to answered. */
  const answer = async (questionId: string, at = 20, more: { tenant?: string; citedAssets?: string[] } = {}): Promise<void> => {
    const { tenant = 't', citedAssets = ['asset-1'] } = more;
    await create(questionId, { tenant });
    await take(questionId);
    const message = newMessage(`m-${questionId}`, { tenant, subject: questionId, at });
    expect(await ledgerOf().finishQuestion(questionId, 'w1', answered({ at, citedAssets, message }))).not.toBeNull();
  };
  const get = (questionId: string): Promise<Question | null> => ledgerOf().getQuestion('t', questionId);
  const told = async (questionId: string): Promise<QuestionEventData[]> =>
    (await ledgerOf().questionEvents('t', questionId, { after: 0, limit: 1_000 })).map(({ data }) => data);
  const owed = async (at: number, limit = 99): Promise<string[]> =>
    (await ledgerOf().owedQuestions({ at, limit })).map(({ questionId }) => questionId);
  const rechecks = async (limit = 99): Promise<string[]> =>
    (await ledgerOf().recheckQuestions(limit)).map(({ questionId }) => questionId);
  const stale = (messageId: string): OutboxMessage => newMessage(messageId, { type: 'answer.stale' });
  const tokens = (text: string): QuestionEventData => ({ type: 'tokens', attempt: 1, text });

  test('a question begins queued with all that was asked', async () => {
    const asked = newAsked({
      question: ODD_TEXT,
      picture: { key: 'questions/t/q1' },
      filter: { socket: 'AM4', price: { lt: 9.5 }, tags: ['a', 'ä'] },
      mode: 'visually_similar',
      showSteps: true,
      language: 'zh-Hans',
      adapter: 'lora/one',
      sampling: { temperature: 0.3, stop: ['<|im_end|>'], seed: 7 },
      webhook: { url: 'https://example.com/ä', secret: 'whsec_x' },
      metadata: { [ODD_TEXT.slice(0, 40)]: ODD_TEXT, empty: '' },
    });
    const plain: Question = {
      questionId: 'q1',
      tenant: 't',
      traceId: 'trace of q1',
      asked: newAsked(),
      status: 'queued',
      createdAt: 5,
      startedAt: null,
      finishedAt: null,
      attempts: 0,
      result: null,
      error: null,
      staleAt: null,
    };
    expect(await create('q1')).toEqual({ question: plain, isNew: true, ahead: 0 });
    expect(await get('q1')).toEqual(plain);
    expect(await ledgerOf().getQuestion('u', 'q1')).toBeNull();
    expect(await get('none')).toBeNull();
    await create('q2', { asked });
    expect((await get('q2'))?.asked).toEqual(asked);
  });

  test("what is ahead are the tenant's other questions that are not finished", async () => {
    await create('q1');
    await create('q2', { tenant: 'u' });
    await answer('q3');
    expect((await create('q4')).ahead).toBe(1);
    expect((await create('q5', {}, { key: 'k', digest: 'd', keepUntil: 99 })).ahead).toBe(2);
    expect((await create('q6', {}, { key: 'k', digest: 'd', keepUntil: 99 })).ahead).toBe(2);
  });

  test('the backlog of all tenants is bounded, and what ends makes room', async () => {
    await create('q1', { maxBacklog: 2 });
    await create('q2', { maxBacklog: 2, tenant: 'u' });
    await take('q2');
    await expect(create('q3', { maxBacklog: 2 })).rejects.toMatchObject({ code: 'question_backlog_full' });
    expect(await get('q3')).toBeNull();
    expect(await owed(0)).toEqual(['q1']);
    await ledgerOf().finishQuestion('q2', 'w1', failed('m2'));
    expect((await create('q3', { maxBacklog: 2 })).isNew).toBe(true);
    await ledgerOf().cancelQuestion('t', 'q1', { eventId: 'e', at: 30 });
    expect((await create('q4', { maxBacklog: 2 })).isNew).toBe(true);
  });

  test("one tenant's share of the backlog leaves room for the others", async () => {
    await create('q1', { maxOfTenant: 2 });
    await create('q2', { maxOfTenant: 2 });
    await expect(create('q3', { maxOfTenant: 2 })).rejects.toMatchObject({ code: 'question_backlog_full' });
    expect((await create('q4', { maxOfTenant: 2, tenant: 'u' })).isNew).toBe(true);
    await ledgerOf().cancelQuestion('t', 'q1', { eventId: 'e', at: 9 });
    expect((await create('q3', { maxOfTenant: 2 })).isNew).toBe(true);
  });

  test('however many ask at once, from wherever, the bound of the backlog holds', async () => {
    const other = await openAgain();
    try {
      const all = await Promise.allSettled(
        Array.from({ length: 20 }, (_, n) =>
          (n % 2 === 0 ? ledgerOf() : other).createQuestion(
            { questionId: `q${n}`, tenant: 't', traceId: 'x', asked: newAsked(), createdAt: 5 },
            { maxBacklog: 7 },
          ),
        ),
      );
      expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(7);
      for (const one of all) if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'question_backlog_full' });
      expect(await ledgerOf().questionBacklog()).toEqual({ queued: 7, running: 0, oldestCreatedAt: 5 });
    } finally {
      await other.close();
    }
  });

  test('an idempotency key brings back its question until its time, also when the backlog is full', async () => {
    const key = { key: 'k', digest: 'd', keepUntil: 50 };
    expect(await create('q1', {}, key)).toMatchObject({ isNew: true });
    expect(await create('q2', { createdAt: 49, maxBacklog: 1 }, key)).toMatchObject({
      question: { questionId: 'q1' },
      isNew: false,
    });
    expect(await get('q2')).toBeNull();
    await expect(create('q2', { createdAt: 49 }, { ...key, digest: 'other' })).rejects.toMatchObject({
      code: 'idempotency_key_reused',
    });
    expect(await get('q2')).toBeNull();
    // Another tenant's key of that name, and another key.
    expect((await create('q3', { tenant: 'u' }, { ...key, digest: 'other' })).isNew).toBe(true);
    expect((await create('q4', {}, { ...key, key: 'k2' })).isNew).toBe(true);
    // Refused, it is not used up.
    await expect(create('q5', { maxBacklog: 1 }, { ...key, key: 'k3' })).rejects.toMatchObject({ code: 'question_backlog_full' });
    expect((await create('q5', {}, { ...key, key: 'k3', digest: 'other' })).isNew).toBe(true);
    // Its time is over.
    expect(await create('q6', { createdAt: 50 }, { key: 'k', digest: 'other', keepUntil: 90 })).toMatchObject({
      question: { questionId: 'q6' },
      isNew: true,
    });
    expect(await create('q7', { createdAt: 60 }, { key: 'k', digest: 'other', keepUntil: 99 })).toMatchObject({
      question: { questionId: 'q6' },
      isNew: false,
    });
  });

  test('ten who ask under one key at once ask one question', async () => {
    const other = await openAgain();
    try {
      const all = await Promise.all(
        Array.from({ length: 10 }, (_, n) =>
          (n % 2 === 0 ? ledgerOf() : other).createQuestion(
            { questionId: `q${n}`, tenant: 't', traceId: 'x', asked: newAsked(), createdAt: 5 },
            { maxBacklog: 99, idempotency: { key: 'k', digest: 'd', keepUntil: 99 } },
          ),
        ),
      );
      expect(all.filter(({ isNew }) => isNew)).toHaveLength(1);
      expect(new Set(all.map(({ question }) => question.questionId)).size).toBe(1);
      expect((await ledgerOf().questionBacklog()).queued).toBe(1);
    } finally {
      await other.close();
    }
  });

  test('questions are listed newest first, by status and page by page, each tenant its own', async () => {
    for (const [n, at] of [5, 7, 6, 7, 8].entries()) await create(`q${n}`, { createdAt: at });
    await create('other', { tenant: 'u', createdAt: 9 });
    await take('q1');
    const page = async (options: { status?: QuestionStatus; after?: string; limit: number }) => {
      const { questions, nextCursor } = await ledgerOf().listQuestions('t', options);
      return { ids: questions.map(({ questionId }) => questionId), nextCursor };
    };
    expect(await page({ limit: 9 })).toEqual({ ids: ['q4', 'q3', 'q1', 'q2', 'q0'], nextCursor: null });
    expect(await page({ limit: 5 })).toEqual({ ids: ['q4', 'q3', 'q1', 'q2', 'q0'], nextCursor: null });
    const first = await page({ limit: 2 });
    expect(first).toEqual({ ids: ['q4', 'q3'], nextCursor: expect.any(String) });
    // What is asked meanwhile moves no page.
    await create('q5', { createdAt: 10 });
    const second = await page({ limit: 2, after: first.nextCursor! });
    expect(second.ids).toEqual(['q1', 'q2']);
    expect(await page({ limit: 2, after: second.nextCursor! })).toEqual({ ids: ['q0'], nextCursor: null });
    expect((await page({ status: 'running', limit: 9 })).ids).toEqual(['q1']);
    expect((await page({ status: 'failed', limit: 9 })).ids).toEqual([]);
    const queued = await page({ status: 'queued', limit: 3 });
    expect(queued.ids).toEqual(['q5', 'q4', 'q3']);
    expect(await page({ status: 'queued', limit: 3, after: queued.nextCursor! })).toEqual({
      ids: ['q2', 'q0'],
      nextCursor: null,
    });
    await expect(page({ limit: 9, after: 'none of ours' })).rejects.toMatchObject({ code: 'request_invalid' });
  });

  test('of two takers one has the question, until its claim lapses', async () => {
    await create('q1');
    const both = await Promise.all([take('q1', 'w1'), take('q1', 'w2')]);
    expect(both.filter((one) => one !== null)).toEqual([
      expect.objectContaining({ questionId: 'q1', status: 'running', attempts: 1, startedAt: 10, asked: newAsked() }),
    ]);
    const [winner, loser] = both[0] ? ['w1', 'w2'] : ['w2', 'w1'];
    expect(await take('q1', loser, 109)).toBeNull();
    expect(await take('q1', loser, 110)).toMatchObject({ status: 'running', attempts: 2, startedAt: 10 });
    // Whoever lost it changes nothing.
    expect(await ledgerOf().renewQuestion('q1', { token: winner, claimMs: 100, at: 111 })).toBe('lost');
    expect(await ledgerOf().addQuestionEvents('q1', winner, [tokens('late')])).toBe(false);
    await ledgerOf().giveBackQuestion('q1', winner);
    expect(await ledgerOf().finishQuestion('q1', winner, answered())).toBeNull();
    expect(await get('q1')).toMatchObject({ status: 'running', attempts: 2, result: null });
    expect(await told('q1')).toEqual([]);
    expect(await ledgerOf().unpublishedMessages(9)).toEqual([]);
    expect(await rechecks()).toEqual([]);
    expect(await ledgerOf().questionsCiting('t', 'asset-1', 9)).toEqual([]);
    expect(await ledgerOf().finishQuestion('q1', loser, answered())).toEqual({ deliveryIds: [] });
    expect(await take('q1', winner, 999)).toBeNull();
    expect(await take('none')).toBeNull();
  });

  test('a claim is held as long as it is renewed, and beyond while nobody else takes the question', async () => {
    await create('q1');
    await take('q1', 'w1', 10);
    expect(await ledgerOf().renewQuestion('q1', { token: 'w1', claimMs: 100, at: 100 })).toBe('held');
    expect(await take('q1', 'w2', 199)).toBeNull();
    expect(await owed(199)).toEqual([]);
    expect(await owed(200)).toEqual(['q1']);
    expect(await ledgerOf().renewQuestion('q1', { token: 'w1', claimMs: 100, at: 250 })).toBe('held');
    expect(await owed(250)).toEqual([]);
    expect(await ledgerOf().addQuestionEvents('q1', 'w1', [tokens('a')])).toBe(true);
    // The same taking, told twice.
    expect(await take('q1', 'w1', 260)).toMatchObject({ status: 'running', attempts: 1 });
    expect(await ledgerOf().renewQuestion('none', { token: 'w1', claimMs: 100, at: 1 })).toBe('lost');
    await ledgerOf().finishQuestion('q1', 'w1', failed('m1'));
    expect(await ledgerOf().renewQuestion('q1', { token: 'w1', claimMs: 100, at: 270 })).toBe('lost');
  });

  test('a question that is given back is queued, and that time does not count', async () => {
    await create('q1');
    await take('q1', 'w1', 10);
    await ledgerOf().giveBackQuestion('q1', 'w2');
    expect((await get('q1'))?.status).toBe('running');
    await ledgerOf().giveBackQuestion('q1', 'w1');
    expect(await get('q1')).toMatchObject({ status: 'queued', attempts: 0, startedAt: 10 });
    expect(await owed(10)).toEqual(['q1']);
    expect(await ledgerOf().addQuestionEvents('q1', 'w1', [tokens('a')])).toBe(false);
    await ledgerOf().giveBackQuestion('q1', 'w1');
    expect(await take('q1', 'w1', 11)).toMatchObject({ attempts: 1, startedAt: 10 });
    await ledgerOf().giveBackQuestion('none', 'w1');
  });

  test('what is told comes in order without gaps, from where a listener stopped', async () => {
    await create('q1');
    await take('q1');
    const retrieved: QuestionEventData = {
      type: 'retrieved',
      attempt: 1,
      sources: [{ citationId: 'c1', assetId: 'asset-1', itemId: null, title: ODD_TEXT, relevanceScore: 0.5 }],
      noMatch: false,
      degraded: false,
    };
    expect(await ledgerOf().addQuestionEvents('q1', 'w1', [retrieved, tokens(ODD_TEXT)])).toBe(true);
    expect(await ledgerOf().addQuestionEvents('q1', 'w1', [])).toBe(true);
    await ledgerOf().addQuestionEvents('q1', 'w1', [tokens('b'), tokens('c')]);
    const read = (after: number, limit: number) => ledgerOf().questionEvents('t', 'q1', { after, limit });
    expect(await read(0, 9)).toEqual([
      { seq: 1, data: retrieved },
      { seq: 2, data: tokens(ODD_TEXT) },
      { seq: 3, data: tokens('b') },
      { seq: 4, data: tokens('c') },
    ]);
    expect((await read(1, 2)).map(({ seq }) => seq)).toEqual([2, 3]);
    expect(await read(4, 9)).toEqual([]);
    expect(await ledgerOf().questionEvents('u', 'q1', { after: 0, limit: 9 })).toEqual([]);
    expect(await ledgerOf().questionEvents('t', 'none', { after: 0, limit: 9 })).toEqual([]);
  });

  test('a question ends once, with its result, what was told, its citations and its message', async () => {
    const ledger = ledgerOf();
    await ledger.addWebhook(newWebhook('h1'), 9);
    await create('q1');
    await take('q1');
    await ledger.addQuestionEvents('q1', 'w1', [tokens('a')]);
    const result = newResult({
      answer: `${ODD_TEXT} ${'长 answer [1]. '.repeat(2_600)}`,
      steps: [],
      citations: [newCitation({ quote: ODD_TEXT }), newCitation({ citationId: 'c2', itemId: null, object: null, quote: null })],
      warnings: [ODD_TEXT],
    });
    const grounded: QuestionEventData = {
      type: 'citations',
      attempt: 1,
      citations: result.citations,
      boxes: result.boxes,
      images: [],
      claims: [],
    };
    const message = newMessage('m1', { data: JSON.stringify({ answer: result.answer }), event: ODD_TEXT });
    const end = answered({
      at: 20,
      result,
      events: [tokens('b'), grounded],
      message,
      citedAssets: ['asset-1', 'asset-2', 'asset-1'],
    });
    const finished = await ledger.finishQuestion('q1', 'w1', end);
    expect(finished).toEqual({ deliveryIds: [expect.any(String)] });
    expect(await ledger.finishQuestion('q1', 'w1', end)).toBeNull();
    expect(await ledger.finishQuestion('none', 'w1', end)).toBeNull();
    expect(await get('q1')).toMatchObject({
      status: 'answered',
      result,
      error: null,
      finishedAt: 20,
      attempts: 1,
      staleAt: null,
    });
    const done = { type: 'done', status: 'answered', eventId: 'm1' } as const;
    expect(await told('q1')).toEqual([tokens('a'), tokens('b'), grounded, done]);
    expect(await ledger.questionsCiting('t', 'asset-2', 9)).toEqual(['q1']);
    expect(await rechecks()).toEqual(['q1']);
    expect(await ledger.unpublishedMessages(9)).toEqual([{ messageId: 'm1', event: ODD_TEXT }]);
    const taken = await ledger.takeDelivery(finished!.deliveryIds[0]!, { token: 'd', claimMs: 9, at: 100 });
    expect(taken?.message.data).toBe(message.data);
    expect(await owed(999)).toEqual([]);
  });

  test('a question fails once, with its code, and cites nothing', async () => {
    await create('q1');
    await create('q2');
    await take('q1');
    const end = { ...failed('m1'), error: { code: 'question_kills_worker' as const, detail: ODD_TEXT } } as QuestionEnd;
    // Queued, it is nobody's to end.
    expect(await ledgerOf().finishQuestion('q2', 'w1', end)).toBeNull();
    expect(await ledgerOf().finishQuestion('q1', 'w1', end)).toEqual({ deliveryIds: [] });
    expect(await get('q1')).toMatchObject({
      status: 'failed',
      error: { code: 'question_kills_worker', detail: ODD_TEXT },
      result: null,
      finishedAt: 20,
    });
    expect(await told('q1')).toEqual([{ type: 'done', status: 'failed', eventId: 'm1' }]);
    expect(await rechecks()).toEqual([]);
    expect(await ledgerOf().markStale('q1', stale('s'), 30)).toBeNull();
    expect(await ledgerOf().unpublishedMessages(9)).toHaveLength(1);
  });

  test('a question is cancelled queued or running, and who works it hears so', async () => {
    const ledger = ledgerOf();
    await create('q1');
    await create('q2');
    await answer('q3');
    await take('q2');
    await ledger.addQuestionEvents('q2', 'w1', [tokens('a')]);
    expect(await ledger.cancelQuestion('u', 'q1', { eventId: 'e', at: 30 })).toBeNull();
    expect(await ledger.cancelQuestion('t', 'none', { eventId: 'e', at: 30 })).toBeNull();
    expect((await get('q1'))?.status).toBe('queued');
    expect(await ledger.cancelQuestion('t', 'q1', { eventId: 'e1', at: 30 })).toBe('cancelled');
    expect(await ledger.cancelQuestion('t', 'q2', { eventId: 'e2', at: 31 })).toBe('cancelled');
    expect(await ledger.cancelQuestion('t', 'q2', { eventId: 'e3', at: 32 })).toBe('cancelled');
    expect(await ledger.cancelQuestion('t', 'q3', { eventId: 'e4', at: 33 })).toBe('answered');
    expect(await get('q2')).toMatchObject({ status: 'cancelled', finishedAt: 31, result: null, error: null });
    expect(await told('q1')).toEqual([{ type: 'done', status: 'cancelled', eventId: 'e1' }]);
    expect(await told('q2')).toEqual([tokens('a'), { type: 'done', status: 'cancelled', eventId: 'e2' }]);
    expect(await told('q3')).toHaveLength(1);
    expect(await ledger.renewQuestion('q2', { token: 'w1', claimMs: 100, at: 33 })).toBe('cancelled');
    expect(await ledger.addQuestionEvents('q2', 'w1', [tokens('b')])).toBe(false);
    expect(await ledger.finishQuestion('q2', 'w1', answered())).toBeNull();
    await ledger.giveBackQuestion('q2', 'w1');
    expect(await take('q1', 'w1', 999)).toBeNull();
    expect(await take('q2', 'w1', 999)).toBeNull();
    expect(await get('q2')).toMatchObject({ status: 'cancelled' });
    expect(await owed(999)).toEqual([]);
    expect(await ledger.questionBacklog()).toEqual({ queued: 0, running: 0, oldestCreatedAt: null });
    expect((await ledger.unpublishedMessages(9)).map(({ messageId }) => messageId)).toEqual(['m-q3']);
  });

  test('of one who finishes and one who cancels at once only one does', async () => {
    for (let n = 0; n < 8; n++) {
      const id = `q${n}`;
      await create(id);
      await take(id);
      const [finished, status] = await Promise.all([
        ledgerOf().finishQuestion(id, 'w1', answered({ message: newMessage(`m${n}`) })),
        ledgerOf().cancelQuestion('t', id, { eventId: `e${n}`, at: 20 }),
      ]);
      expect(status).toBe(finished ? 'answered' : 'cancelled');
      expect((await get(id))?.status).toBe(status);
      expect(await told(id)).toEqual([{ type: 'done', status, eventId: finished ? `m${n}` : `e${n}` }]);
    }
  });

  test('owed are the queued and those whose claim has lapsed, oldest first, of all tenants', async () => {
    await create('q1', { createdAt: 3 });
    await create('q2', { createdAt: 1, tenant: 'u' });
    await create('q3', { createdAt: 2 });
    await create('q4', { createdAt: 4 });
    await take('q3', 'w1', 10);
    await take('q4', 'w1', 10, 500);
    expect(await ledgerOf().owedQuestions({ at: 109, limit: 9 })).toEqual([
      { tenant: 'u', questionId: 'q2', traceId: 'trace of q2', createdAt: 1 },
      { tenant: 't', questionId: 'q1', traceId: 'trace of q1', createdAt: 3 },
    ]);
    expect(await owed(110)).toEqual(['q2', 'q3', 'q1']);
    expect(await owed(110, 2)).toEqual(['q2', 'q3']);
    expect(await owed(510)).toEqual(['q2', 'q3', 'q1', 'q4']);
    expect(await ledgerOf().questionBacklog()).toEqual({ queued: 2, running: 2, oldestCreatedAt: 1 });
  });

  test('an answer is found by what it cites until it is stale, and goes stale once', async () => {
    const ledger = ledgerOf();
    await ledger.addWebhook(newWebhook('h1', { events: ['answer.stale'] }), 9);
    await answer('q1', 20, { citedAssets: ['a', 'b'] });
    await answer('q2', 21, { citedAssets: ['b'] });
    await answer('q3', 22, { citedAssets: ['b'], tenant: 'u' });
    expect((await ledger.questionsCiting('t', 'b', 9)).toSorted()).toEqual(['q1', 'q2']);
    expect(await ledger.questionsCiting('t', 'b', 1)).toHaveLength(1);
    expect(await ledger.questionsCiting('u', 'b', 9)).toEqual(['q3']);
    expect(await ledger.questionsCiting('t', 'c', 9)).toEqual([]);
    const both = await Promise.all([ledger.markStale('q1', stale('s1'), 30), ledger.markStale('q1', stale('s2'), 31)]);
    expect(both.filter((one) => one !== null)).toEqual([{ deliveryIds: [expect.any(String)] }]);
    expect(await ledger.markStale('q1', stale('s3'), 32)).toBeNull();
    expect(await ledger.markStale('none', stale('s3'), 32)).toBeNull();
    expect(await get('q1')).toMatchObject({ status: 'answered', staleAt: both[0] ? 30 : 31 });
    expect(await ledger.questionsCiting('t', 'a', 9)).toEqual([]);
    expect(await ledger.questionsCiting('t', 'b', 9)).toEqual(['q2']);
    expect((await ledger.unpublishedMessages(9)).filter(({ messageId }) => messageId.startsWith('s'))).toHaveLength(1);
    expect((await ledger.listDeliveries('t', 'h1', { limit: 9 })).deliveries).toHaveLength(1);
  });

  test('answers with citations are looked at once more until that is settled, oldest first', async () => {
    await answer('q1', 30);
    await answer('q2', 20);
    await answer('q3', 25, { citedAssets: [] });
    await answer('q4', 40, { tenant: 'u' });
    expect(await ledgerOf().recheckQuestions(9)).toEqual([
      { tenant: 't', questionId: 'q2' },
      { tenant: 't', questionId: 'q1' },
      { tenant: 'u', questionId: 'q4' },
    ]);
    expect(await rechecks(1)).toEqual(['q2']);
    await ledgerOf().settleRecheck('q2');
    await ledgerOf().settleRecheck('q2');
    await ledgerOf().settleRecheck('none');
    expect(await rechecks()).toEqual(['q1', 'q4']);
    expect(await get('q2')).toMatchObject({ status: 'answered', staleAt: null });
  });

  test('what finished long ago is pruned step by step, with all that belongs to it', async () => {
    const ledger = ledgerOf();
    const key = { key: 'k', digest: 'd', keepUntil: 1_000 };
    await create('q0', {}, key);
    await take('q0');
    await ledger.finishQuestion('q0', 'w1', answered({ at: 15, message: newMessage('m0') }));
    await answer('q1', 20);
    await answer('q2', 30);
    await answer('q3', 40, { tenant: 'u' });
    await create('q4');
    await create('q5');
    await take('q5');
    await create('q6');
    await ledger.cancelQuestion('t', 'q6', { eventId: 'e', at: 25 });
    const prune = (before: number, limit: number) => ledger.pruneQuestions({ before, reviewedBefore: before, at: 60, limit });
    expect(await prune(15, 9)).toEqual([]);
    const first = await prune(40, 3);
    expect(first).toHaveLength(3);
    const rest = await prune(40, 3);
    expect([...first, ...rest].map(({ questionId }) => questionId).toSorted()).toEqual(['q0', 'q1', 'q2', 'q6']);
    expect([...first, ...rest]).toContainEqual({ tenant: 't', questionId: 'q1' });
    expect(await prune(40, 3)).toEqual([]);
    expect(await get('q1')).toBeNull();
    expect(await told('q1')).toEqual([]);
    expect(await ledger.questionsCiting('t', 'asset-1', 9)).toEqual([]);
    expect(await ledger.questionsCiting('u', 'asset-1', 9)).toEqual(['q3']);
    expect(await rechecks()).toEqual(['q3']);
    expect((await ledger.listQuestions('t', { limit: 9 })).questions.map(({ questionId }) => questionId)).toEqual(['q5', 'q4']);
    // The key of one that is not kept any more is free.
    expect(await create('q9', { createdAt: 70 }, { ...key, digest: 'other' })).toMatchObject({
      question: { questionId: 'q9' },
      isNew: true,
    });
    // What is told of them is kept apart.
    expect(await ledger.unpublishedMessages(9)).toHaveLength(4);
  });

  test('keys past their time are pruned, and no others', async () => {
    await create('q1', {}, { key: 'old', digest: 'd', keepUntil: 50 });
    await create('q2', {}, { key: 'new', digest: 'd', keepUntil: 51 });
    expect(await ledgerOf().pruneQuestions({ before: 0, reviewedBefore: 0, at: 50, limit: 9 })).toEqual([]);
    // A clock that is behind would still find it.
    expect((await create('q3', { createdAt: 10 }, { key: 'old', digest: 'd', keepUntil: 99 })).isNew).toBe(true);
    expect((await create('q4', { createdAt: 10 }, { key: 'new', digest: 'd', keepUntil: 99 })).isNew).toBe(false);
  });

  test("a tenant's questions go with it, or those from before a time, with all that belongs to them", async () => {
    const ledger = ledgerOf();
    const key = { key: 'k', digest: 'd', keepUntil: 1_000 };
    await create('q1', { createdAt: 5 }, key);
    await take('q1');
    await ledger.finishQuestion('q1', 'w1', answered());
    await create('q2', { createdAt: 6 });
    await create('q3', { createdAt: 5 });
    await take('q3');
    await answer('u1', 20, { tenant: 'u' });
    await ledger.deleteTenant('t', { createdUpTo: 5 });
    expect((await ledger.listQuestions('t', { limit: 9 })).questions.map(({ questionId }) => questionId)).toEqual(['q2']);
    // It was being answered.
    expect(await ledger.renewQuestion('q3', { token: 'w1', claimMs: 100, at: 20 })).toBe('lost');
    expect(await ledger.finishQuestion('q3', 'w1', answered({ message: newMessage('m3') }))).toBeNull();
    expect(await get('q1')).toBeNull();
    expect(await told('q1')).toEqual([]);
    expect(await ledger.questionsCiting('t', 'asset-1', 9)).toEqual([]);
    expect(await rechecks()).toEqual(['u1']);
    expect(await ledger.questionBacklog()).toEqual({ queued: 1, running: 0, oldestCreatedAt: 6 });
    expect((await create('q4', { createdAt: 7 }, { ...key, digest: 'other' })).isNew).toBe(true);
    await ledger.deleteTenant('t');
    expect((await ledger.listQuestions('t', { limit: 9 })).questions).toEqual([]);
    expect(await owed(999)).toEqual([]);
    expect(await ledger.getQuestion('u', 'u1')).toMatchObject({ status: 'answered' });
    expect(await ledger.questionsCiting('u', 'asset-1', 9)).toEqual(['u1']);
  });

  test('an answer is there for another process', async () => {
    await answer('q1');
    const other = await openAgain();
    try {
      expect(await other.getQuestion('t', 'q1')).toMatchObject({ status: 'answered', result: newResult() });
      expect(await other.questionEvents('t', 'q1', { after: 0, limit: 9 })).toHaveLength(1);
    } finally {
      await other.close();
    }
  });
}
