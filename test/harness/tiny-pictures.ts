import sharp from 'sharp';
import { seeded } from '@sightline/shared/testing/seeded';

const GRID_PX = 6;
const WIDTH_PX = 64;
const HEIGHT_PX = 48;

/** A small JPEG (about a kilobyte) of soft colours: another one for each number, the same one each time. */
export async function tinyJpeg(number: number): Promise<Buffer> {
  const random = seeded(number + 1);
  const soft = Buffer.from(Array.from({ length: GRID_PX * GRID_PX * 3 }, () => random.whole(0, 255)));
  return sharp(soft, { raw: { width: GRID_PX, height: GRID_PX, channels: 3 } })
    .resize(WIDTH_PX, HEIGHT_PX, { fit: 'fill', kernel: 'cubic' })
    .jpeg({ quality: 80 })
    .toBuffer();
}
