/**
 * Redraws an icon's SVG in invented styles, so that the encoder learns shapes rather than five artists' habits:
 * every colour moves by its own draw, gradients may be flattened, outlines may be added.
 */
const HEX = /#(?:[0-9a-f]{6}|[0-9a-f]{3})\b/gi;

function toRgb(hex) {
  const full = hex.length === 4 ? hex.slice(1).replace(/./g, '$&$&') : hex.slice(1);
  return [0, 2, 4].map((i) => Number.parseInt(full.slice(i, i + 2), 16));
}

const toHex = (rgb) =>
  `#${rgb
    .map((v) =>
      Math.max(0, Math.min(255, Math.round(v)))
        .toString(16)
        .padStart(2, '0'),
    )
    .join('')}`;

/** Rotates hue by `turn` (in turns) in YIQ space, scales chroma and contrast, shifts brightness. */
function moveColour(hex, { turn, chroma, contrast, shift }) {
  const [r, g, b] = toRgb(hex);
  const y = 0.299 * r + 0.587 * g + 0.114 * b;
  const i = 0.596 * r - 0.274 * g - 0.322 * b;
  const q = 0.211 * r - 0.523 * g + 0.312 * b;
  const [cos, sin] = [Math.cos(turn * 2 * Math.PI) * chroma, Math.sin(turn * 2 * Math.PI) * chroma];
  const [i2, q2] = [i * cos - q * sin, i * sin + q * cos];
  const y2 = (y - 128) * contrast + 128 + shift;
  return toHex([y2 + 0.956 * i2 + 0.621 * q2, y2 - 0.272 * i2 - 0.647 * q2, y2 - 1.106 * i2 + 1.703 * q2]);
}

/** Replaces each gradient by its middle stop's colour. */
function flattenGradients(svg) {
  const colours = new Map();
  for (const [, id, stops] of svg.matchAll(
    /<(?:linear|radial)Gradient[^>]*\bid="([^"]+)"[^>]*>(.*?)<\/(?:linear|radial)Gradient>/gs,
  )) {
    const found = stops.match(HEX);
    if (found) colours.set(id, found[Math.floor(found.length / 2)]);
  }
  return svg.replace(/url\(#([^)]+)\)/g, (whole, id) => colours.get(id) ?? whole);
}

/** One invented style of an SVG; `random` decides which. `keepColours` is for concepts that a colour defines. */
export function varySvg(svg, random, { viewSize, keepColours }) {
  let out = random() < 0.5 ? flattenGradients(svg) : svg;
  const strength = keepColours ? 0.1 : random() < 0.5 ? 0.35 : 1;
  const spread = (amount) => (random() - 0.5) * 2 * amount * strength;
  const common = { turn: spread(0.06), chroma: 1 + spread(0.35), contrast: 1 + spread(0.25), shift: spread(25) };
  const moved = new Map();
  out = out.replace(HEX, (hex) => {
    const key = hex.toLowerCase();
    if (!moved.has(key)) {
      moved.set(
        key,
        moveColour(key, {
          turn: common.turn + spread(0.05),
          chroma: common.chroma * (1 + spread(0.3)),
          contrast: common.contrast,
          shift: common.shift + spread(22),
        }),
      );
    }
    return moved.get(key);
  });
  if (random() < 0.4) {
    const dark = toHex([random() * 70, random() * 70, random() * 70]);
    const width = (viewSize * (0.008 + 0.022 * random())).toFixed(2);
    out = out.replace(
      /(<svg[^>]*>)(.*)(<\/svg>)/s,
      `$1<g stroke="${dark}" stroke-width="${width}" stroke-linejoin="round">$2</g>$3`,
    );
  }
  return out;
}

/** A one-colour icon in a drawn colour (most of them dark). */
export function colourMono(svg, random) {
  const light = random() < 0.4 ? 200 : 80;
  return svg.replaceAll('currentColor', toHex([random() * light, random() * light, random() * light]));
}
