import type { AnswerBox } from '@sightline/shared/contracts/questions';
import type { BoxFrame } from '../generator.ts';

/** [left, top, right, bottom], right and bottom exclusive. */
export type Box = AnswerBox['pixels'];

export interface Size {
  widthPx: number;
  heightPx: number;
}

/** What is done to a picture before a model sees it, in order. `orient` turns it upright from its EXIF orientation. */
export type PictureStep =
  | { kind: 'orient'; orientation: number }
  | { kind: 'crop'; leftPx: number; topPx: number; widthPx: number; heightPx: number }
  | { kind: 'resize'; widthPx: number; heightPx: number }
  | { kind: 'pad'; leftPx: number; topPx: number; widthPx: number; heightPx: number };

/** The way from the picture as it is stored to what the model saw. */
export interface PictureFrame {
  /** As stored. */
  widthPx: number;
  heightPx: number;
  /** EXIF orientation, 1 to 8. */
  orientation: number;
  steps: PictureStep[];
}

export type MappedBox = Pick<AnswerBox, 'pixels' | 'normalized' | 'upright'>;

/** From what the model wrote to the picture as stored; null where no pixel of the picture is left of it, or it is none. */
export function mapBox(_box: readonly number[], _written: BoxFrame, _frame: PictureFrame): MappedBox | null {
  throw new Error('to be written');
}
