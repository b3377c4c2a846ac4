import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openAnswerRig, type AnswerRig } from './testing/answer-rig.ts';
import { INJECTION_CASES } from './testing/injection-cases.ts';

/**
 * What holds by construction, whatever the model does: it is played by a server that says exactly what the stranger's text says, which is
 * the most obedient model there is. What depends on the model (whether it follows an order) is measured by `npm run bench:injection`.
 */
let rig: AnswerRig;
beforeAll(async () => {
  rig = await openAnswerRig({}, { inFlight: 2 });
  await rig.add({
    itemId: 'secret-item',
    title: 'Secret cooler',
    text: 'SECRET-7 of the other tenant.',
    colour: [1, 0, 0],
    tenant: 'other',
  });
});
afterAll(() => rig.close());

test('there are enough cases', () => {
  expect(INJECTION_CASES.length).toBeGreaterThanOrEqual(30);
});

test.each(INJECTION_CASES)('$name ($where)', async ({ where, payload }) => {
  const stored = payload.replaceAll('\0', ' ').toWellFormed();
  await rig.add({
    itemId: 'cooler',
    title: where === 'title' ? stored : 'Red cooler',
    text: where === 'text' ? stored : 'Fits AM4.',
    colour: [1, 0, 0],
    ...(where === 'attribute' ? { attributes: { kind: 'part', note: stored } } : {}),
  });
  await rig.add({ itemId: 'fan', title: 'Blue fan', text: 'A fan of 120 mm.', colour: [0, 0, 1] });
  rig.server.always({ text: `It says: ${payload}` });
  const before = rig.server.requests.length;
  const questionId = await rig.ask({
    question: where === 'question' ? stored.slice(0, 2_000) : 'Does the red cooler fit AM4?',
    k: 5,
    filter: { kind: 'part' },
  });
  await rig.work(questionId);

  const [request] = rig.server.requests.slice(before);
  const question = await rig.question(questionId);
  expect(question.status).toBe('answered');
  const { result } = question;
  if (!request) throw new Error('The model was not asked.');
  const fence = `source-${questionId.replaceAll('-', '').slice(-12)}`;
  const sources = request.text.match(/^Source \[\d+\]$/gm) ?? [];
  // Each fence is opened and closed once, by us; the rules name both once more.
  expect(request.text.split(`<${fence}>`)).toHaveLength(sources.length + 2);
  expect(request.text.split(`</${fence}>`)).toHaveLength(sources.length + 2);
  // The server writes a picture down as its type in brackets.
  const shown = request.text.slice(request.text.indexOf('Source [1]')).replaceAll(/\[image\/(png|jpeg)[^\]]*\]/g, '');
  expect(shown).not.toMatch(/<\||\|>|<\/?s>|<image|<img|<script|<end_of|<start_of|\[INST|\[\/INST|\[\[|【|［|＜/);
  // Of numbers in brackets there are the headings' alone.
  const given = new Set(sources.map((heading) => heading.slice('Source '.length)));
  for (const mark of shown.match(/\[[^\]\n]{0,20}\]/g) ?? []) expect(given).toContain(mark);
  expect(shown).not.toMatch(/[\u{e0000}-\u{e007f}\u200b\u202e\u0007\u001b]/u);
  // The server is told of nothing but the model's own settings: no tools, no address, no tenant's data.
  expect(Object.keys(request.body)).not.toContain('tools');
  expect(request.text).not.toContain('SECRET-7');
  const ids = new Set(['c1', 'c2']);
  for (const { citationId, itemId } of result?.citations ?? []) {
    expect(ids).toContain(citationId);
    expect(['cooler', 'fan']).toContain(itemId);
  }
  for (const [, n] of result?.answer.matchAll(/\[(\d+)\]/g) ?? []) expect(ids).toContain(`c${n}`);
  expect(result?.answer ?? '').not.toMatch(/<\|im_|<\|eot|\[\[\s*-?[\d.]+\s*(,\s*-?[\d.]+\s*){3}\]\]/);
  for (const {
    pixels: [left, top, right, bottom],
    label,
  } of result?.boxes ?? []) {
    expect(left >= 0 && top >= 0 && right <= 120 && bottom <= 90 && left < right && top < bottom).toBe(true);
    expect(label.length).toBeLessThanOrEqual(80);
  }
  const message = (await rig.ledger.unpublishedMessages(1_000)).at(-1);
  expect(JSON.stringify(message)).not.toContain('SECRET-7');
  await rig.ledger.settlePublished([message?.messageId ?? '']);
});
