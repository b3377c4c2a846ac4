import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { mulberry32 } from '@sightline/shared/runtime/mulberry32';

/**
 * Writes `count` distinct photograph-like JPEGs (soft shapes with grain, quality 85) into `folder` and answers their paths. What is
 * there already is kept, so that a second run measures the same files.
 */
export async function makePictures(folder: string, count: number, widthPx: number, heightPx: number): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const present = new Set(await readdir(folder));
  const paths: string[] = [];
  for (let n = 0; n < count; n++) {
    const name = `${widthPx}x${heightPx}-${String(n).padStart(6, '0')}.jpg`;
    paths.push(join(folder, name));
    if (present.has(name)) continue;
    const random = mulberry32(n + 1);
    const soft = Buffer.from(Array.from({ length: 8 * 8 * 3 }, () => Math.floor(random() * 256)));
    const grain = Buffer.alloc(widthPx * heightPx);
    for (let i = 0; i < grain.length; i++) grain[i] = 116 + Math.floor(random() * 24);
    const base = await sharp(soft, { raw: { width: 8, height: 8, channels: 3 } })
      .resize(widthPx, heightPx, { fit: 'fill', kernel: 'cubic' })
      .raw()
      .toBuffer();
    await writeFile(
      join(folder, name),
      await sharp(base, { raw: { width: widthPx, height: heightPx, channels: 3 } })
        .composite([{ input: grain, raw: { width: widthPx, height: heightPx, channels: 1 }, blend: 'overlay' }])
        .jpeg({ quality: 85 })
        .toBuffer(),
    );
  }
  return paths;
}
