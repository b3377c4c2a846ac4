import { MAX_REVIEWS, review, REVIEWED_PAGE_CHARS, type Review } from '../contracts/feedback.ts';
import { listCursor, listPlace } from '../contracts/list-cursor.ts';
import type { FeedbackLedger, ReviewedQuestion } from '../ports/feedback-ledger.ts';
import { SightlineError } from '../runtime/errors.ts';
import type { LedgerClient } from './redis-ledger-client.ts';
import { tenantTag, type LedgerKeys } from './redis-ledger-keys.ts';
import { unpackedPrompt } from './redis-ledger-prompt.ts';
import { QUESTION_PRELUDE } from './redis-ledger-question-scripts.ts';
import { toQuestion } from './redis-ledger-questions.ts';
import { asFields, asList, asText } from './redis-ledger-reply.ts';
import { redisScript } from './redis-ledger-script.ts';

/**
 * the id, the tenant's tag, the reviewer, at, what is said, the most reviews. Answers what came of it, and the status or the
 * reviews.
 */
const PUT_REVIEW = redisScript(
  `${QUESTION_PRELUDE}
if not status or tag ~= ARGV[2] then return { 'none' } end
if status ~= 'answered' then return { 'state', status } end
local reviewer, at, said = ARGV[3], ARGV[4], ARGV[5]
local former = redis.call('HGET', REVIEWS, reviewer)
if not former and redis.call('HLEN', REVIEWS) >= tonumber(ARGV[6]) then return { 'full' } end
if not former or string.sub(former, 18) ~= said then
  redis.call('HSET', REVIEWS, reviewer, string.format('%016.0f ', at) .. said)
  local latest, finished = unpack(redis.call('HMGET', RECORD, 'reviewedAt', 'finishedAt'))
  if latest then redis.call('ZREM', REVIEW_PLACES, review_place(latest)) end
  latest = string.format('%.0f', math.max(tonumber(latest or '0'), tonumber(at)))
  redis.call('HSET', RECORD, 'reviewedAt', latest)
  redis.call('ZADD', REVIEW_PLACES, 0, review_place(latest))
  redis.call('ZREM', FINISHED, id)
  redis.call('ZADD', REVIEWED, finished, id)
end
return { 'kept', redis.call('HVALS', REVIEWS) }`,
  { full: 'refuse' },
);

/** KEYS: record, prompt and reviews of a question. */
const READ_REVIEWED = redisScript(
  `return { redis.call('HGETALL', KEYS[1]), redis.call('GET', KEYS[2]) or '', redis.call('HVALS', KEYS[3]) }`,
  'reads',
);

/**
 * Ledger's methods on reviews, on Redis, in the questions' slot. Of a question: `prompt` (as `packedPrompt` writes it), `reviews`
 * (hash of reviewer to its time in 16 digits, a space, and JSON). Over all: `reviewed` (by finishedAt), `review-places` (members
 * by the latest review, in the order of a listing). A reviewed question is in `reviewed` instead of `finished`.
 */
export function redisFeedback(client: LedgerClient, { questions: keys }: LedgerKeys) {
  const reviewPlaces = keys.shared[10] ?? '';

  const read = async (id: string): Promise<ReviewedQuestion | null> => {
    const [ofRecord = '', , ofPrompt = '', ofReviews = ''] = keys.of(id);
    const [record, prompt, reviews] = asList(await client.run(READ_REVIEWED, [ofRecord, ofPrompt, ofReviews], []));
    const question = toQuestion(id, asFields(record));
    if (!question) return null;
    const packed = asText(prompt);
    return { question, reviews: toReviews(reviews), prompt: packed === '' ? null : unpackedPrompt(packed) };
  };

  return {
    async putReview(tenant: string, questionId: string, { reviewedAt, ...said }: Review): Promise<Review[] | null> {
      const args = [questionId, tenantTag(tenant), said.reviewer, reviewedAt, JSON.stringify(said), MAX_REVIEWS];
      const reply = asList(await client.run(PUT_REVIEW, [...keys.shared, ...keys.of(questionId)], args));
      const [outcome, answer] = reply;
      if (outcome === 'none') return null;
      if (outcome === 'state') throw new SightlineError('question_state', `It is ${asText(answer)}.`);
      if (outcome === 'full') throw new SightlineError('feedback_full');
      return toReviews(answer);
    },

    async getReviewed(tenant: string, questionId: string): Promise<ReviewedQuestion | null> {
      const found = await read(questionId);
      return found?.question.tenant === tenant ? found : null;
    },

    async listReviewed(
      tenant: string,
      { since = 0, after, limit }: Parameters<FeedbackLedger['listReviewed']>[1],
    ): Promise<Awaited<ReturnType<FeedbackLedger['listReviewed']>>> {
      const tag = tenantTag(tenant);
      const first = `[${tag}/${timeOf(since)}/`;
      const end = `(${tag}0`;
      const from = after === undefined ? first : placeAfter(tag, after);
      const total = after === undefined ? Number(await client.call('zlexcount', reviewPlaces, first, end)) : null;
      const places = asList(await client.call('zrange', reviewPlaces, from, end, 'BYLEX', 'LIMIT', 0, limit + 1)).map(asText);
      const page = places.slice(0, limit).map((place) => place.slice(tag.length + 1));
      const reviewed: ReviewedQuestion[] = [];
      let [passed, chars] = [0, 0];
      while (passed < page.length && chars < REVIEWED_PAGE_CHARS) {
        const found = await read((page[passed++] ?? '').slice(17));
        // Null: it went since its place was read.
        if (found) reviewed.push(found);
        chars += JSON.stringify(found).length;
      }
      const last = page[passed - 1];
      return {
        reviewed,
        nextCursor: places.length > passed && last ? listCursor({ at: Number(last.slice(0, 16)), id: last.slice(17) }) : null,
        total,
      };
    },
  };
}

function timeOf(at: number): string {
  return String(at).padStart(16, '0');
}

function placeAfter(tag: string, cursor: string): string {
  const { at, id } = listPlace(cursor);
  return `(${tag}/${timeOf(at)}/${id}`;
}

function toReviews(values: unknown): Review[] {
  return asList(values)
    .map((value) => {
      const text = asText(value);
      return review.parse({ ...(JSON.parse(text.slice(17)) as object), reviewedAt: Number(text.slice(0, 16)) });
    })
    .sort((a, b) => a.reviewedAt - b.reviewedAt || (a.reviewer < b.reviewer ? -1 : 1));
}
