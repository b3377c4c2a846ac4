/**
 * Reviews a running stack's answers by a set's labels, as a person would: asks each question, says whether the answer is right, and
 * else what it should have been, with its boxes.
 *
 *   node review-from-labels.mjs --set DIR [--url http://127.0.0.1:8080] [--split train-like] [--languages en,zh] [--limit N]
 *     [--reviewer labels]
 *
 * DIR holds questions.jsonl in the sample's form. The key, where the stack asks for one, is in SIGHTLINE_API_KEY. Run again it goes
 * on: a question that was answered within the last 24 hours is not asked twice, one that failed is asked anew. A stack that is busy
 * is waited for, for five minutes. Prints what became of the questions as JSON.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const POLL_MS = 400;
const AT_ONCE = 4;
const MOST_WAIT_MS = 5 * 60_000;
/** So often one question is asked in 24 hours, a run each. */
const MOST_ATTEMPTS = 20;
const OVERLAP = 0.5;
const startedAt = Date.now();
const OVER = new Set(['answered', 'failed', 'cancelled']);

const { values } = parseArgs({
  options: {
    set: { type: 'string' },
    url: { type: 'string', default: 'http://127.0.0.1:8080' },
    split: { type: 'string', default: 'train-like' },
    languages: { type: 'string', default: 'en,zh' },
    limit: { type: 'string', default: 'Infinity' },
    reviewer: { type: 'string', default: 'labels' },
  },
});

/**
 * JSON of the API. What is refused for being too much is asked again when the answer says, for five minutes. Throws an Error that
 * names the code.
 */
async function call(method, route, body, headers = {}) {
  const key = process.env.SIGHTLINE_API_KEY;
  const until = performance.now() + MOST_WAIT_MS;
  for (;;) {
    const response = await fetch(new URL(route, values.url), {
      method,
      headers: { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }), ...headers },
      ...(body && { body: JSON.stringify(body) }),
    });
    if (response.ok) return response.json();
    const wait = Number(response.headers.get('retry-after'));
    if ((response.status !== 429 && response.status !== 503) || performance.now() + wait * 1000 > until) {
      const { code, detail } = await response.json();
      throw new Error(`${method} ${route}: ${response.status} ${code} ${detail ?? ''}`);
    }
    await sleep((wait || 1) * 1000);
  }
}

/** Answers as they are compared: without citations, case, stops at the end and spaces. */
const plain = (text) =>
  text
    .normalize('NFKC')
    .replaceAll(/\[\d+\]/g, '')
    .toLowerCase()
    .replaceAll(/\s+/g, ' ')
    .trim()
    .replace(/\s*[.。]+$/, '');

/** Intersection over union of two boxes [x1, y1, x2, y2]. */
function overlap(a, b) {
  const side = (i) => Math.max(0, Math.min(a[i + 2], b[i + 2]) - Math.max(a[i], b[i]));
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  const shared = side(0) * side(1);
  return shared / (area(a) + area(b) - shared);
}

/** Each labelled box is met by a box of the answer's own on the same source's picture, and there are no others. */
function boxesAgree(view, source, boxes) {
  const images = new Set(view.images.filter((image) => image.citation_id === `c${source}`).map((image) => image.n));
  const left = view.boxes.filter((box) => images.has(box.image)).map((box) => box.pixels);
  if (left.length !== view.boxes.length || left.length !== boxes.length) return false;
  return boxes.every(({ xyxy }) => {
    const at = left.findIndex((pixels) => overlap(pixels, xyxy) >= OVERLAP);
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  });
}

/** The question at its end. One that failed in an earlier run is asked anew, under another key: under its own it stays what it was. */
async function ask(label, question) {
  for (let attempt = 0; ; attempt += 1) {
    const name = [values.reviewer, label.id, question, ...(attempt > 0 ? [attempt] : [])].join('/');
    const once = createHash('sha256').update(name).digest('hex');
    const { links } = await call('POST', '/v1/questions', { question }, { 'idempotency-key': once });
    let view = await call('GET', links.self);
    const isOld = Date.parse(view.created_at) < startedAt;
    for (; !OVER.has(view.status); view = await call('GET', links.self)) await sleep(POLL_MS);
    if (view.status === 'answered' || !isOld || attempt === MOST_ATTEMPTS - 1) return { view, links };
  }
}

/** Asks one question, waits for its end, reviews it; returns what became of it. */
async function review({ label, language }) {
  const question = language === 'zh' ? label.question_zh : label.question;
  const expected = (language === 'zh' && label.answer_zh) || label.answer;
  const { view, links } = await ask(label, question);
  if (view.status !== 'answered') return view.status;

  const { sources, pictures } = await call('GET', `${links.self}/feedback`);
  const n = sources.find((source) => source.item_id === label.item_id)?.n;
  const isShown = n !== undefined && pictures.some((picture) => picture.source === n);
  const isRight = isShown && plain(view.answer) === plain(expected) && boxesAgree(view, n, label.boxes);
  const correction = isShown && {
    corrected_answer: `${expected.replace(/[.。]+$/, '')} [${n}]${language === 'zh' ? '。' : '.'}`,
    corrected_boxes: label.boxes.map(({ label, xyxy }) => ({ source: n, label, pixels: xyxy })),
  };
  const verdict = isRight ? { verdict: 'right' } : { verdict: 'wrong', ...correction };
  await call('POST', `${links.self}/feedback`, { ...verdict, reviewer: values.reviewer });
  return isRight ? 'right' : isShown ? 'corrected' : 'wrong, its picture was not shown';
}

const labels = readFileSync(path.join(values.set, 'questions.jsonl'), 'utf8').trim().split('\n').map(JSON.parse);
const jobs = labels
  .filter((label) => label.split === values.split)
  .flatMap((label) => values.languages.split(',').map((language) => ({ label, language })))
  .filter(({ label, language }) => language !== 'zh' || label.question_zh)
  .slice(0, Number(values.limit));
const outcomes = {};
const started = performance.now();
let [next, done] = [0, 0];
async function work() {
  while (next < jobs.length) {
    const outcome = await review(jobs[next++]);
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    done += 1;
    const rate = done / ((performance.now() - started) / 1000);
    if (done % 10 === 0 || done === jobs.length)
      process.stderr.write(`${done}/${jobs.length}  ${rate.toFixed(2)}/s  ${Math.ceil((jobs.length - done) / rate)} s left\n`);
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, work));
process.stdout.write(`${JSON.stringify({ asked: jobs.length, ...outcomes })}\n`);
