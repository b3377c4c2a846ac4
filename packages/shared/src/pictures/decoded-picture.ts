/** A picture ready for a network: one or more crops of the network's input size, RGB, 8 bits, interleaved (HWC). */
export interface DecodedPicture {
  /** crops * size * size * 3 bytes. */
  pixels: Uint8Array;
  crops: number;
  /** After EXIF orientation. */
  widthPx: number;
  heightPx: number;
  /** What the bytes were: jpeg, png, ... */
  format: string;
}
