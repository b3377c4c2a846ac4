import type { KeptPrompt, Review } from '../src/contracts/feedback.ts';
import type { AskedQuestion, Citation, QuestionResult } from '../src/contracts/questions.ts';
import type { OutboxMessage, Webhook } from '../src/ports/webhook-ledger.ts';

/** What a store may stumble over and has to give back as it came. */
export const ODD_TEXT = `"quoted" 'single' \\back\\ %s {} [1] \u{1F600}\u{1F469}\u200d\u{1F52C} 主板 café \u2028\u0001\ttab\r\nline <|im_end|>`;

export function newAsked(more: Partial<AskedQuestion> = {}): AskedQuestion {
  return {
    question: 'Which cooler fits AM4?',
    picture: null,
    filter: null,
    mode: 'hybrid',
    alpha: 0.7,
    k: 5,
    maxImages: null,
    showSteps: false,
    language: null,
    adapter: null,
    sampling: {},
    webhook: null,
    metadata: {},
    ...more,
  };
}

export function newCitation(more: Partial<Citation> = {}): Citation {
  return {
    citationId: 'c1',
    assetId: 'asset-1',
    itemId: 'item-1',
    object: { bucket: 'b', key: 'ä.png' },
    title: 'Cooler',
    relevanceScore: 0.75,
    quote: 'fits AM4',
    seen: { sha256: 'ff', recordDigest: null },
    ...more,
  };
}

export function newResult(more: Partial<QuestionResult> = {}): QuestionResult {
  return {
    answer: 'The first one [1].',
    steps: null,
    citations: [newCitation()],
    boxes: [{ image: 1, label: 'socket', pixels: [1, 2, 3, 4], normalized: [0.1, 0.2, 0.3, 0.4], upright: [0.1, 0.2, 0.3, 0.4] }],
    images: [
      {
        n: 1,
        source: 'citation',
        citationId: 'c1',
        object: { bucket: 'b', key: 'ä.png', eTag: 'e' },
        widthPx: 10,
        heightPx: 10,
        orientation: 6,
      },
    ],
    claims: [{ text: 'The first one [1].', citationIds: ['c1'], verdict: 'supported', score: 0.9 }],
    noMatch: false,
    model: 'm',
    promptVersion: '1',
    warnings: [],
    timingsMs: { queue: 1, retrieve: 2, prompt: 3, firstToken: null, generate: 4.5, ground: 5, total: 15.5 },
    usage: { promptTokens: 9, completionTokens: 8, images: 1 },
    ...more,
  };
}

export function newMessage(messageId: string, more: Partial<OutboxMessage> = {}): OutboxMessage {
  return {
    messageId,
    tenant: 't',
    type: 'question.answered',
    subject: 'q1',
    at: 100,
    data: `{"of":"${messageId}"}`,
    event: `{"event":"${messageId}"}`,
    to: null,
    ...more,
  };
}

export function newWebhook(webhookId: string, more: Partial<Webhook> = {}): Webhook {
  return {
    webhookId,
    tenant: 't',
    url: `https://example.com/${webhookId}`,
    description: '',
    events: ['question.answered'],
    secrets: [{ secret: `whsec_${webhookId}`, expiresAt: null }],
    disabledBecause: null,
    createdAt: 1,
    updatedAt: 1,
    failingSince: null,
    ...more,
  };
}

export function newPrompt(more: Partial<KeptPrompt> = {}): KeptPrompt {
  return {
    system: 'You answer questions.',
    content: ['Source [1]\nCooler', 'Picture of source [1]:', 0, 'Question:\nWhich cooler fits AM4?'],
    sources: [{ n: 1, assetId: 'asset-1', itemId: 'item-1', title: 'Cooler' }],
    pictures: [{ source: 1, object: { bucket: 'b', key: 'ä.png', eTag: 'e' }, widthPx: 10, heightPx: 10, orientation: 6 }],
    boxFrame: 'thousand',
    imageSidePx: 336,
    structured: false,
    ...more,
  };
}

export function newReview(more: Partial<Review> = {}): Review {
  return {
    reviewer: 'ann',
    verdict: 'wrong',
    correctedAnswer: null,
    correctedBoxes: null,
    note: null,
    reviewedAt: 50,
    ...more,
  };
}
