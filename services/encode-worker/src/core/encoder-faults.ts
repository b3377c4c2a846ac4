/** What can go wrong with a batch as a whole. Anything else that is thrown is the fault of one of its inputs, or of its size. */

/** The process that computes went away, or was ended because it did not answer. */
export class EncoderGoneError extends Error {
  /** False when it had not begun with this batch: the batch is innocent. */
  readonly wasComputing: boolean;

  constructor(message: string, wasComputing = true) {
    super(message);
    this.wasComputing = wasComputing;
  }
}

/** There was no memory for a batch of this size. */
export class OutOfMemoryError extends Error {}
