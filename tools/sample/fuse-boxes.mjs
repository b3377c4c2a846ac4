/**
 * Fuse box sheets: numbered slots, each with a fuse of a colour and a rating, or empty. No family of the sample; a new kind of product to show
 * how a model is tuned on what it has not seen.
 */
import { Sheet, around, draw } from './sheet.mjs';
import { shuffled } from '../starter-encoder/seeded.mjs';

/** Colours of blade fuses by their rating in amperes, as DIN 72581-3 and ISO 8820-3 have them. */
const FUSES = [
  { amps: 5, en: 'tan', zh: '棕褐色', fill: '#c8a070' },
  { amps: 10, en: 'red', zh: '红色', fill: '#d93025' },
  { amps: 15, en: 'blue', zh: '蓝色', fill: '#1a73e8' },
  { amps: 20, en: 'yellow', zh: '黄色', fill: '#f9c80e' },
  { amps: 30, en: 'green', zh: '绿色', fill: '#188038' },
];
const CIRCUITS = [
  ['headlights', '前照灯'],
  ['horn', '喇叭'],
  ['radio', '收音机'],
  ['wipers', '雨刮器'],
  ['fuel pump', '燃油泵'],
  ['heater', '暖风机'],
  ['sockets', '电源插座'],
  ['mirrors', '后视镜'],
  ['cooling fan', '冷却风扇'],
  ['interior lights', '车内灯'],
];
const MAKERS = ['Vela', 'Corvo', 'Marlin', 'Tarn', 'Ostra', 'Bergen'];
const [SLOT_WIDE, SLOT_HIGH, GAP] = [92, 74, 12];

/** A sheet with 4 to 8 slots in two rows and a list of some circuits. Cell: the slot that is asked about, its rating, and the count of slots. */
export function fuseBox(random, index) {
  const slots = 2 * draw.int(random, 2, 4);
  const columns = slots / 2;
  const fuses = Array.from({ length: slots }, () => (random() < 0.12 ? null : draw.one(random, FUSES)));
  const asked = draw.int(random, 1, slots);
  fuses[asked - 1] ??= draw.one(random, FUSES);
  const model = `${draw.one(random, MAKERS)} F${100 + ((index * 37) % 900)}`;
  const sheet = new Sheet(480, 400);
  const left = (480 - columns * SLOT_WIDE - (columns - 1) * GAP) / 2;
  sheet.rect(left - 16, 22, columns * (SLOT_WIDE + GAP) - GAP + 32, 2 * SLOT_HIGH + GAP + 32, { fill: '#e3e7ec', round: 10 });
  const boxes = fuses.map((fuse, i) =>
    drawSlot(sheet, left + (i % columns) * (SLOT_WIDE + GAP), 38 + Math.floor(i / columns) * (SLOT_HIGH + GAP), i + 1, fuse),
  );
  const listed = shuffled(CIRCUITS, random).slice(0, 3);
  const slotsListed = shuffled(
    Array.from({ length: slots }, (_, i) => i + 1),
    random,
  ).slice(0, 3);
  const lines = listed.map(([name], i) => sheet.text(`${slotsListed[i]}  ${name}`, 60, 264 + i * 32, 22));
  sheet.line(8, 356, 472, 356, { width: 1 });
  sheet.text(`Fuse box ${model}`, 20, 382, 17, { font: 'bold' });

  const fuse = fuses[asked - 1];
  const counted = draw.one(random, FUSES);
  const same = boxes.filter((_, i) => fuses[i] === counted);
  const [circuit, circuitZh] = listed[0];
  return {
    cell: `fuse-box/${slots}/${asked}/${fuse.amps}`,
    svg: String(sheet),
    record: {
      item_id: `fuse-box-${String(index).padStart(3, '0')}`,
      title: `Fuse box ${model}`,
      text: `Fuse box for blade fuses, ${draw.one(random, ['clip-on', 'screw-on'])} cover. Slots as in the picture. 插片式保险丝盒，插槽见图。`,
      attributes: { kind: 'drawing', family: 'fuse-box', sku: model.split(' ')[1], in_stock: random() < 0.8 },
    },
    questions: [
      {
        kind: 'picture',
        question: `What is the rating of fuse ${asked} in fuse box ${model}?`,
        question_zh: `保险丝盒 ${model} 中 ${asked} 号保险丝的额定电流是多少？`,
        answer: `${fuse.amps} A`,
        boxes: [{ label: `${fuse.amps} A`, xyxy: boxes[asked - 1] }],
      },
      {
        kind: 'picture',
        question: `Which colour is fuse ${asked} in fuse box ${model}?`,
        question_zh: `保险丝盒 ${model} 中 ${asked} 号保险丝是什么颜色？`,
        answer: fuse.en,
        answer_zh: fuse.zh,
        boxes: [{ label: fuse.en, xyxy: boxes[asked - 1] }],
      },
      {
        kind: 'picture',
        question: `How many ${counted.amps} A fuses are in fuse box ${model}?`,
        question_zh: `保险丝盒 ${model} 中有几个 ${counted.amps} A 的保险丝？`,
        answer: String(same.length),
        boxes: same.map((xyxy) => ({ label: `${counted.amps} A`, xyxy })),
      },
      {
        kind: 'picture',
        question: `Which slot of fuse box ${model} protects the ${circuit}?`,
        question_zh: `保险丝盒 ${model} 的哪个插槽保护${circuitZh}？`,
        answer: String(slotsListed[0]),
        boxes: [{ label: circuit, xyxy: lines[0] }],
      },
    ],
  };
}

/** A slot with its number above its fuse; returns the box around both. */
function drawSlot(sheet, x, y, number, fuse) {
  const frame = sheet.rect(x, y, SLOT_WIDE, SLOT_HIGH, { fill: '#ffffff', width: 1.5, round: 4 });
  sheet.text(String(number), x + 8, y + 24, 22, { font: 'bold' });
  if (!fuse) {
    sheet.text('-', x + SLOT_WIDE / 2, y + 56, 22, { anchor: 'middle' });
    return frame;
  }
  const body = sheet.rect(x + 10, y + 30, SLOT_WIDE - 20, 36, { fill: fuse.fill, width: 1.5, round: 5 });
  const dark = ['blue', 'green', 'red'].includes(fuse.en);
  sheet.text(String(fuse.amps), x + SLOT_WIDE / 2, y + 57, 24, {
    font: 'bold',
    anchor: 'middle',
    colour: dark ? '#ffffff' : '#1c2430',
  });
  return around(frame, body);
}
