import { createHash } from 'node:crypto';
import type { AnswerImage } from '@sightline/shared/contracts/questions';
import type { ReviewedQuestion } from '@sightline/shared/ports/feedback-ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { Question, QuestionLedger } from '@sightline/shared/ports/question-ledger';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { BoxToDraw } from './annotated-picture.ts';
import type { Gate } from './gate.ts';

/** Part of every picture's tag: another number where the same boxes are drawn in another way. */
const DRAWN_AS = 1;

export interface QuestionPictureDeps {
  ledger: Pick<QuestionLedger, 'getQuestion'>;
  store: ObjectStore;
  index: Pick<VectorIndex, 'get'>;
  /** PNG bytes, upright, at most `maxPx` on the long side, with the boxes and their labels. */
  draw: (bytes: Uint8Array, boxes: BoxToDraw[], maxPx: number) => Promise<Buffer>;
  /** Of all that decodes pictures here. */
  gate: Gate;
  maxPictureBytes: number;
}

/** The pictures of answers with their boxes drawn, each time anew: nothing of them is kept. */
export class QuestionPictures {
  readonly #deps: QuestionPictureDeps;

  constructor(deps: QuestionPictureDeps) {
    this.#deps = deps;
  }

  /**
   * The answer's picture `n`, as it was when it was answered; `tag` names this very drawing. Errors: `question_not_found`,
   * `question_state` (there is no answer), `question_image_not_found`, those of the store, `overloaded`, the picture_* codes.
   */
  async find(
    tenant: string,
    questionId: string,
    { n, maxPx }: { n: number; maxPx: number },
  ): Promise<{ tag: string; read: () => Promise<Buffer> }> {
    const question = await this.#deps.ledger.getQuestion(tenant, questionId);
    if (!question) throw new SightlineError('question_not_found');
    if (question.status !== 'answered' || !question.result)
      throw new SightlineError('question_state', `It is ${question.status}; pictures come with the answer.`);
    const image = question.result.images.find((image) => image.n === n);
    if (!image) throw new SightlineError('question_image_not_found');
    await this.#assertNotRemoved(tenant, assetOf(image, question));
    const head = await this.#deps.store.head(image.object);
    if (!head) throw new SightlineError('object_not_found');
    if (head.eTag !== image.object.eTag) throw changed();
    const boxes = question.result.boxes.filter((box) => box.image === n).map(({ upright, label }) => ({ upright, label }));
    return { tag: tagOf(image, boxes, maxPx), read: () => this.#deps.gate.run(() => this.#draw(image, boxes, maxPx)) };
  }

  /**
   * The bytes of the prompt's picture `n`, from 1, as they are stored. Errors: `question_image_not_found`, `object_not_found`,
   * `object_changed`, those of the store, `overloaded`.
   */
  async shown(tenant: string, { question, prompt }: Pick<ReviewedQuestion, 'question' | 'prompt'>, n: number): Promise<Buffer> {
    const picture = prompt?.pictures[n - 1];
    if (!prompt || !picture) throw new SightlineError('question_image_not_found');
    const cited = prompt.sources.find((source) => source.n === picture.source)?.assetId;
    await this.#assertNotRemoved(tenant, picture.source === 0 ? askedWith(question) : cited);
    return this.#deps.gate.run(() => this.#read(picture.object));
  }

  /** What was taken off the index is not shown any more, whoever cited it. */
  async #assertNotRemoved(tenant: string, assetId: string | undefined): Promise<void> {
    if (assetId === undefined) return;
    const point = (await this.#deps.index.get(tenant, [assetId])).get(assetId);
    if (!point || point.deleted) throw new SightlineError('object_not_found', 'It was removed, or has gone, since it was cited.');
  }

  async #draw({ object }: AnswerImage, boxes: BoxToDraw[], maxPx: number): Promise<Buffer> {
    return this.#deps.draw(await this.#read(object), boxes, maxPx);
  }

  async #read(object: AnswerImage['object']): Promise<Buffer> {
    const { store, maxPictureBytes } = this.#deps;
    const { bytes } = await store.get(object, { maxBytes: maxPictureBytes, ifMatch: object.eTag }).catch((error: unknown) => {
      throw error instanceof SightlineError && error.code === 'object_changed' ? changed(error) : error;
    });
    return bytes;
  }
}

function assetOf({ citationId }: AnswerImage, question: Question): string | undefined {
  if (citationId === null) return askedWith(question);
  return question.result?.citations.find((citation) => citation.citationId === citationId)?.assetId;
}

/** The asset whose picture was asked with; none where it was uploaded. */
function askedWith({ asked: { picture } }: Question): string | undefined {
  return picture && 'assetId' in picture ? picture.assetId : undefined;
}

/** Boxes are of the picture that the model saw: on another one they would show what is not there. */
function changed(cause?: SightlineError): SightlineError {
  return new SightlineError('object_changed', 'The answer is stale: its picture is not the one that it was made from.', {
    cause,
  });
}

function tagOf({ object }: AnswerImage, boxes: BoxToDraw[], maxPx: number): string {
  return createHash('sha256')
    .update(JSON.stringify([DRAWN_AS, object.bucket, object.key, object.eTag, boxes, maxPx]))
    .digest('base64url')
    .slice(0, 22);
}
