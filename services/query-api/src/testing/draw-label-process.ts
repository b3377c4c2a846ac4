import { createHash } from 'node:crypto';
import sharp from 'sharp';
import { SharpAnnotator } from '../adapters/sharp-annotator.ts';

/** Draws each label of its arguments on a grey picture and prints the sha256 of what was drawn, one a line. */
const annotator = new SharpAnnotator();
const grey = await sharp({ create: { width: 600, height: 400, channels: 3, background: '#808080' } })
  .png()
  .toBuffer();
for (const label of process.argv.slice(2)) {
  const drawn = await annotator.draw(grey, [{ upright: [0.25, 0.25, 0.5, 0.5], label }], 2048);
  process.stdout.write(`${createHash('sha256').update(drawn).digest('hex')}\n`);
}
