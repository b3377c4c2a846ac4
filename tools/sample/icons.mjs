/** Rasterises drawings and names their colours. */
import sharp from 'sharp';

/** SVG -> PNG of `size` with transparency. */
export const drawIcon = (svg, size) =>
  sharp(Buffer.from(svg))
    .resize(size, size, { fit: 'contain', background: { r: 0, g: 0, b: 0, alpha: 0 } })
    .png()
    .toBuffer();

const NAMES = [
  ['red', 0],
  ['orange', 30],
  ['yellow', 52],
  ['green', 135],
  ['teal', 180],
  ['blue', 215],
  ['purple', 275],
  ['pink', 325],
  ['red', 360],
];

/** The name of the commonest colour among the opaque pixels of a PNG. */
export async function colourName(png) {
  const { data } = await sharp(png).resize(48, 48).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  const votes = {};
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] < 128) continue;
    const name = nameOf(data[i], data[i + 1], data[i + 2]);
    votes[name] = (votes[name] ?? 0) + 1;
  }
  return Object.entries(votes).sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]))[0]?.[0] ?? 'white';
}

function nameOf(r, g, b) {
  const high = Math.max(r, g, b);
  const low = Math.min(r, g, b);
  if (high - low < 28) return high < 70 ? 'black' : low > 215 ? 'white' : 'grey';
  const spread = high - low;
  const sector = high === r ? ((g - b) / spread + 6) % 6 : high === g ? (b - r) / spread + 2 : (r - g) / spread + 4;
  const hue = sector * 60;
  if (high < 150 && hue > 10 && hue < 45) return 'brown';
  return NAMES.reduce((best, entry) => (Math.abs(entry[1] - hue) < Math.abs(best[1] - hue) ? entry : best))[0];
}
