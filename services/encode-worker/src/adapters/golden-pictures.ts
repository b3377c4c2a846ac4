import sharp from 'sharp';

/** Texts of a self-recorded golden file: plain, a code, another script, and one that must be cut. */
export const GOLDEN_TEXTS = [
  'a photo of a red running shoe with a white sole',
  'AM4 socket, 4 mounting holes, 54 x 90 mm',
  '红色的跑鞋',
  `${'a drawing of a cooler with its mounting holes and '.repeat(80)}the end`,
];

/** A large JPEG with soft shapes, edges and grain, 2000 x 1500, to prove shrinking on load with. */
export async function goldenPhotograph(): Promise<Buffer> {
  const [width, height] = [2000, 1500];
  const pixels = new Uint8Array(width * height * 3);
  let noise = 1;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      noise = (noise * 1_103_515_245 + 12_345) % 2_147_483_648;
      const grain = (noise >> 24) & 15;
      const isInside = (x - 900) ** 2 + (y - 700) ** 2 < 250_000;
      pixels[at++] = isInside ? 200 - grain : (x * 160) / width + grain;
      pixels[at++] = isInside ? 60 + grain : (y * 200) / height + grain;
      pixels[at++] = (((x >> 7) + (y >> 7)) % 2 ? 180 : 90) + grain;
    }
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 88 })
    .toBuffer();
}

/** Pictures of a self-recorded golden file, drawn by integer arithmetic so that they are the same everywhere; none is square. */
export async function goldenPictures(): Promise<{ id: string; bytes: Buffer }[]> {
  const draw = (width: number, height: number, pixel: (x: number, y: number) => [number, number, number]) => {
    const pixels = new Uint8Array(width * height * 3);
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) pixels.set(pixel(x, y), (y * width + x) * 3);
    return sharp(pixels, { raw: { width, height, channels: 3 } })
      .png({ compressionLevel: 9, adaptiveFiltering: true })
      .toBuffer();
  };
  return [
    {
      id: 'landscape',
      bytes: await draw(160, 96, (x, y) => [(x * 255) / 159, (y * 255) / 95, ((x >> 4) + (y >> 4)) % 2 ? 220 : 30]),
    },
    {
      id: 'portrait',
      bytes: await draw(90, 150, (x, y) => ((x - 45) ** 2 + (y - 60) ** 2 < 1200 ? [200, 40, 30] : [240, 240, 235])),
    },
    { id: 'large', bytes: await draw(640, 500, (x, y) => [((x ^ y) & 64) + (x >> 2), ((x * y) >> 11) & 255, (x + 2 * y) >> 3]) },
    { id: 'tiny', bytes: await draw(5, 3, (x, y) => [x * 60, y * 120, 255 - x * 50]) },
  ];
}
