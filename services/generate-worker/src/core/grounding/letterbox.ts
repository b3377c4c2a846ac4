import type { PictureFrame } from './picture-frame.ts';

/** A picture as a model is shown it: re-encoded here, a square. */
export interface Letterboxed {
  bytes: Buffer;
  mediaType: 'image/png' | 'image/jpeg';
  /** Its size and orientation as stored, and what was done to it: boxes are mapped back by it. */
  frame: PictureFrame;
}

/** Turns a stranger's picture into the model's square. Errors: the picture_* codes. */
export interface Letterbox {
  letterbox(bytes: Uint8Array): Promise<Letterboxed>;
}
