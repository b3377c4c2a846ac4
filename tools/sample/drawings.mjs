/** Technical drawings whose answers stand in the picture alone: cooler mountings, connectors, plates with holes. */
import { Sheet, around, draw } from './sheet.mjs';
import { shuffled } from '../starter-encoder/seeded.mjs';

/** Distances of the mounting holes in millimetres; real figures of these sockets. */
const PATTERNS = [
  { sockets: ['AM4', 'AM5'], wide: 54, high: 90, colour: '#b3261e' },
  { sockets: ['LGA1700', 'LGA1851'], wide: 78, high: 78, colour: '#1a56b0' },
  { sockets: ['LGA1200', 'LGA115x'], wide: 75, high: 75, colour: '#1d7a3a' },
  { sockets: ['LGA2066'], wide: 80, high: 80, colour: '#7b3fa0' },
];
const BRANDS = ['Nordwind', 'Kestrel', 'Polaris', 'Tundra', 'Breeva', 'Halcyon', 'Zephyr', 'Firn'];
const PALETTE = { red: '#d93025', blue: '#1a73e8', green: '#188038', yellow: '#f9c80e', black: '#202124', orange: '#f57c00' };
const PALETTE_ZH = { red: '红色', blue: '蓝色', green: '绿色', yellow: '黄色', black: '黑色', orange: '橙色' };

const price = (random, low, high) => Math.round((low + (high - low) * random()) * 20) / 20;
const frame = (sheet, title, number) => {
  sheet.rect(8, 8, sheet.width - 16, sheet.height - 16, { width: 1 });
  sheet.line(8, sheet.height - 44, sheet.width - 8, sheet.height - 44, { width: 1 });
  sheet.text(title, 20, sheet.height - 20, 16, { font: 'bold' });
  sheet.text(`${number}   all measures in mm`, sheet.width - 20, sheet.height - 20, 13, { anchor: 'end' });
};

/** A cooler's mounting frame: one or two hole patterns with their distances and sockets. Cell: the patterns drawn. */
export function cooler(random, index) {
  const chosen = shuffled(PATTERNS, random).slice(0, random() < 0.55 ? 1 : 2);
  if (chosen.length === 2 && Math.abs(chosen[0].wide - chosen[1].wide) < 6) chosen.pop();
  const brand = draw.one(random, BRANDS);
  const model = `${brand} ${draw.one(random, ['N', 'T', 'X', 'R'])}${draw.int(random, 10, 99)}`;
  const sheet = new Sheet(640, 480);
  const [cx, cy, scale] = [250, 205, 3];
  sheet.rect(cx - 150, cy - 160, 300, 320, { round: 16, fill: '#f3f5f8' });
  sheet.rect(cx - 52, cy - 52, 104, 104, { width: 1 });
  sheet.line(cx - 170, cy, cx + 170, cy, { width: 0.8, dash: '12 4 3 4' });
  sheet.line(cx, cy - 175, cx, cy + 175, { width: 0.8, dash: '12 4 3 4' });
  const boxes = new Map();
  for (const [i, p] of chosen.entries()) {
    const [w, h] = [(p.wide * scale) / 2, (p.high * scale) / 2];
    for (const [sx, sy] of [
      [-1, -1],
      [1, -1],
      [-1, 1],
      [1, 1],
    ])
      sheet.circle(cx + sx * w, cy + sy * h, 7, { stroke: p.colour, fill: '#ffffff', width: 2.5 });
    const across = sheet.across(cx - w, cx + w, i === 0 ? cy - h + 30 : cy + h - 24, p.wide.toFixed(1), { colour: p.colour });
    const upright = sheet.upright(cy - h, cy + h, cx + 168 + i * 74, p.high.toFixed(1), { colour: p.colour });
    sheet.circle(438, 374 + i * 28, 6, { stroke: p.colour, width: 2.5 });
    const label = sheet.text(p.sockets.join(' / '), 454, 380 + i * 28, 15, { font: 'bold', colour: p.colour });
    boxes.set(p, { across, upright, label });
  }
  const sku = `CL-${draw.int(random, 1000, 9999)}`;
  frame(sheet, `${model}  mounting frame`, sku);
  const cost = price(random, 18, 95);
  const fan = draw.one(random, [92, 120, 140]);
  const id = `drawing-cooler-${String(index).padStart(2, '0')}`;
  const [asked] = chosen;
  const other = PATTERNS.find((p) => !chosen.includes(p));
  const shown = (p) => [
    { label: `${p.wide} mm`, xyxy: boxes.get(p).across },
    { label: `${p.high} mm`, xyxy: boxes.get(p).upright },
    { label: p.sockets.join(' / '), xyxy: boxes.get(p).label },
  ];
  const socket = draw.one(random, asked.sockets);
  const missing = draw.one(random, other.sockets);
  return {
    cell: `cooler/${chosen
      .map((p) => p.sockets[0])
      .sort()
      .join('+')}/${socket}`,
    svg: String(sheet),
    seen: sheet.seen,
    record: {
      item_id: id,
      title: `${model} CPU cooler`,
      text: `Tower cooler with a ${fan} mm fan. Mounting frame as in the drawing. CPU散热器，${fan}毫米风扇，安装孔距见图。`,
      attributes: { kind: 'drawing', family: 'cpu-cooler', brand, sku, price: cost, in_stock: random() < 0.8, fan_mm: fan },
    },
    questions: [
      {
        kind: 'picture',
        question: `Do the mounting holes of the ${model} fit socket ${socket}?`,
        question_zh: `${model} 的安装孔适合 ${socket} 插座吗？`,
        answer: `Yes: the drawing shows holes ${asked.wide} x ${asked.high} mm apart, marked ${asked.sockets.join(' / ')}.`,
        answer_zh: `是：图中孔距为 ${asked.wide} x ${asked.high} mm，标注 ${asked.sockets.join(' / ')}。`,
        boxes: shown(asked),
      },
      {
        kind: 'picture',
        question: `Do the mounting holes of the ${model} fit socket ${missing}?`,
        question_zh: `${model} 的安装孔适合 ${missing} 插座吗？`,
        answer: `No: the drawing shows only ${chosen.map((p) => `${p.wide} x ${p.high} mm (${p.sockets.join(' / ')})`).join(' and ')}.`,
        answer_zh: `否：图中只有 ${chosen.map((p) => `${p.wide} x ${p.high} mm (${p.sockets.join(' / ')})`).join(' 和 ')}。`,
        boxes: chosen.flatMap(shown),
      },
      {
        kind: 'mixed',
        question: `What does the ${model} cost, and how far apart are its ${socket} holes?`,
        question_zh: `${model} 多少钱？${socket} 的孔距是多少？`,
        answer: `${cost.toFixed(2)}; ${asked.wide} x ${asked.high} mm.`,
        boxes: shown(asked),
      },
    ],
  };
}

/** A connector seen from the front with its rating. Cell: rows, columns and volts. */
export function connector(random, index) {
  const rows = draw.int(random, 1, 3);
  const columns = draw.int(random, 2, 8);
  const volts = draw.one(random, [3.3, 5, 12, 24, 48]);
  const amps = draw.int(random, 1, 12);
  const model = `CX-${draw.int(random, 100, 999)}`;
  const sheet = new Sheet(560, 380);
  const pitch = 44;
  const [w, h] = [columns * pitch + 30, rows * pitch + 30];
  const [x, y] = [(560 - w) / 2, 128 - h / 2];
  const body = sheet.rect(x, y, w, h, { round: 8, fill: '#e6eaf0' });
  sheet.rect(x + w / 2 - 22, y - 12, 44, 12, { fill: '#e6eaf0' });
  for (let r = 0; r < rows; r += 1)
    for (let c = 0; c < columns; c += 1)
      sheet.rect(x + 15 + c * pitch + 10, y + 15 + r * pitch + 10, 24, 24, { fill: '#39424e', width: 1 });
  sheet.text('1', x - 16, y + 44, 15);
  const across = sheet.across(x + 37, x + w - 37, y + h + 30, ((columns - 1) * 4.2).toFixed(1));
  const label = sheet.rect(160, 266, 240, 56, { fill: '#fff8d6', round: 4 });
  const rating = sheet.text(`${volts} V   ${amps} A`, 280, 303, 24, { font: 'bold', anchor: 'middle' });
  frame(sheet, `${model}  front view`, `pitch 4.2`);
  const pins = rows * columns;
  return {
    cell: `connector/${rows}x${columns}/${volts}`,
    svg: String(sheet),
    seen: sheet.seen,
    record: {
      item_id: `drawing-connector-${String(index).padStart(2, '0')}`,
      title: `${model} connector`,
      text: `Board connector, ${draw.one(random, ['tin', 'gold'])} plated. Pins and rating as drawn. 接插件，针数与额定值见图。`,
      attributes: { kind: 'drawing', family: 'connector', sku: model, price: price(random, 0.4, 4), in_stock: random() < 0.8 },
    },
    questions: [
      {
        kind: 'picture',
        question: `How many pins does connector ${model} have?`,
        question_zh: `接插件 ${model} 有多少针？`,
        answer: `${pins}${rows > 1 ? ` (${rows} rows of ${columns})` : ''}`,
        ...(rows > 1 && { answer_zh: `${pins}（${rows} 排，每排 ${columns} 针）` }),
        boxes: [{ label: `${pins} pins`, xyxy: body }],
      },
      {
        kind: 'picture',
        question: `For which voltage is connector ${model} rated?`,
        question_zh: `接插件 ${model} 的额定电压是多少？`,
        answer: `${volts} V`,
        boxes: [{ label: `${volts} V`, xyxy: around(rating, label) }],
      },
      {
        kind: 'picture',
        question: `How far apart are the first and last pins of ${model}?`,
        question_zh: `${model} 第一针与最后一针相距多少？`,
        answer: `${((columns - 1) * 4.2).toFixed(1)} mm`,
        boxes: [{ label: `${((columns - 1) * 4.2).toFixed(1)} mm`, xyxy: across }],
      },
    ],
  };
}

/** A plate with coloured bushings: count, place and width are asked. Cell: colours' counts and the width. */
export function plate(random, index) {
  const names = shuffled(Object.keys(PALETTE), random).slice(0, 2);
  const wide = draw.int(random, 8, 24) * 10;
  const high = draw.int(random, 6, 12) * 10;
  const model = `P${draw.int(random, 1000, 9999)}`;
  const sheet = new Sheet(600, 420);
  const [x, y, w, h] = [70, 40, 380, 240];
  sheet.rect(x, y, w, h, { fill: '#f1f3f4', round: 10 });
  const places = shuffled([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], random)
    .slice(0, draw.int(random, 4, 8))
    .sort((a, b) => a - b);
  const holes = places.map((place, i) => {
    const colour = i < 2 ? names[i] : draw.one(random, names);
    return {
      colour,
      box: sheet.circle(x + 50 + (place % 4) * 93, y + 45 + Math.floor(place / 4) * 75, 24, { fill: PALETTE[colour], width: 2 }),
    };
  });
  const across = sheet.across(x, x + w, y + h + 40, String(wide), { size: 20 });
  const upright = sheet.upright(y, y + h, x + w + 36, String(high), { size: 20 });
  frame(sheet, `Plate ${model}`, `${holes.length} bushings`);
  const [first] = names;
  const own = holes.filter((hole) => hole.colour === first);
  return {
    cell: `plate/${first}${own.length}/${wide}`,
    svg: String(sheet),
    seen: sheet.seen,
    record: {
      item_id: `drawing-plate-${String(index).padStart(2, '0')}`,
      title: `Mounting plate ${model}`,
      text: `Steel plate with colour-coded bushings, ${draw.one(random, ['2', '3', '4'])} mm thick. 安装板，衬套颜色与尺寸见图。`,
      attributes: { kind: 'drawing', family: 'plate', sku: model, price: price(random, 4, 30), in_stock: random() < 0.8 },
    },
    questions: [
      {
        kind: 'picture',
        question: `How many ${first} bushings does plate ${model} have?`,
        question_zh: `安装板 ${model} 有几个${PALETTE_ZH[first]}衬套？`,
        answer: String(own.length),
        boxes: own.map((hole) => ({ label: first, xyxy: hole.box })),
      },
      {
        kind: 'picture',
        question: `How wide is plate ${model}?`,
        question_zh: `安装板 ${model} 有多宽？`,
        answer: `${wide} mm`,
        boxes: [{ label: `${wide} mm`, xyxy: across }],
      },
      {
        kind: 'picture',
        question: `How high is plate ${model}?`,
        question_zh: `安装板 ${model} 有多高？`,
        answer: `${high} mm`,
        boxes: [{ label: `${high} mm`, xyxy: upright }],
      },
    ],
  };
}
