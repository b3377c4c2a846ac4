import type { KeptPrompt, Review } from '../contracts/feedback.ts';
import type { Question } from './question-ledger.ts';

/** An answered question with what reviewers say of it. */
export interface ReviewedQuestion {
  question: Question;
  /** Of each reviewer the latest; oldest first. */
  reviews: Review[];
  /** Null where no model was asked, or the answer is older than prompts are kept. */
  prompt: KeptPrompt | null;
}

/**
 * Reviews of answers. They are kept with their question, which stays for them beyond its own time (`pruneQuestions`), and go with
 * it. `putReview` is one atomic step and durable when it returns.
 */
export interface FeedbackLedger {
  /**
   * Puts a review in the place of the same reviewer's former one; one that says the same as that changes nothing, its time
   * included. Answers all reviews of the question, oldest first; null when the tenant has no such question. Errors:
   * `question_state` unless it is answered, `feedback_full` when MAX_REVIEWS others reviewed it.
   */
  putReview(tenant: string, questionId: string, review: Review): Promise<Review[] | null>;
  /** One question with its reviews, reviewed or not; null when the tenant has no such question. */
  getReviewed(tenant: string, questionId: string): Promise<ReviewedQuestion | null>;
  /**
   * Questions that were reviewed, by the time of their latest review, oldest first, from `since` on and after a cursor
   * (`listCursor`). One that is reviewed again meanwhile comes again, later. Fewer than `limit`, but one at least, where they
   * hold more than REVIEWED_PAGE_CHARS: there are more as long as there is a cursor. `total`: how many there are from `since` on;
   * null after a cursor. Error: `request_invalid` for a cursor that is none.
   */
  listReviewed(
    tenant: string,
    options: { since?: number; after?: string; limit: number },
  ): Promise<{ reviewed: ReviewedQuestion[]; nextCursor: string | null; total: number | null }>;
}
