/** Printed problem sheets: arithmetic, equations, geometry; half of them show the steps to the answer. */
import { Sheet, draw } from './sheet.mjs';

const KINDS = { addition, multiplication, equation, angle, area, pythagoras };
const TRIPLES = [
  [3, 4, 5],
  [5, 12, 13],
  [6, 8, 10],
  [8, 15, 17],
  [9, 12, 15],
  [7, 24, 25],
  [12, 16, 20],
];

function addition(random) {
  const [a, b] = [draw.int(random, 120, 899), draw.int(random, 105, 799)];
  const units = (a % 10) + (b % 10);
  return {
    topic: 'arithmetic',
    zh: '算术',
    cell: `${a % 10}+${b % 10}`,
    lines: [`${a} + ${b} = ?`],
    steps: [
      `ones: ${a % 10} + ${b % 10} = ${units}`,
      `tens and hundreds: ${a - (a % 10)} + ${b - (b % 10)} = ${a + b - units}`,
      `sum: ${a + b}`,
    ],
    ask: 'What is the sum',
    askZh: '和是多少',
    answer: String(a + b),
  };
}

function multiplication(random) {
  const [a, b] = [draw.int(random, 12, 98), draw.int(random, 3, 9)];
  return {
    topic: 'arithmetic',
    zh: '算术',
    cell: `${a % 10}x${b}`,
    lines: [`${a} × ${b} = ?`],
    steps: [`${a - (a % 10)} × ${b} = ${(a - (a % 10)) * b}`, `${a % 10} × ${b} = ${(a % 10) * b}`, `product: ${a * b}`],
    ask: 'What is the product',
    askZh: '积是多少',
    answer: String(a * b),
  };
}

function equation(random) {
  const [a, x, b] = [draw.int(random, 2, 9), draw.int(random, 2, 12), draw.int(random, 1, 30)];
  return {
    topic: 'equation',
    zh: '方程',
    cell: `${a}x${x}`,
    lines: [`${a}x + ${b} = ${a * x + b}`],
    steps: [`${a}x = ${a * x + b} - ${b} = ${a * x}`, `x = ${a * x} : ${a}`, `x = ${x}`],
    ask: 'What is x',
    askZh: 'x 等于多少',
    answer: String(x),
  };
}

function angle(random) {
  const [a, b] = [draw.int(random, 7, 16) * 5, draw.int(random, 7, 14) * 5];
  const c = 180 - a - b;
  const figure = (sheet, x, y) => {
    const [left, right] = [(a * Math.PI) / 180, (b * Math.PI) / 180];
    const base = 210;
    const apex = (base * Math.sin(right)) / Math.sin(left + right);
    const [ax, ay] = [x + apex * Math.cos(left), y - apex * Math.sin(left)];
    sheet.add(
      `<path d="M${x} ${y}H${x + base}L${ax.toFixed(1)} ${ay.toFixed(1)}z" fill="#eef3fb" stroke="#1c2430" stroke-width="2"/>`,
    );
    sheet.text(`${a}°`, x + 22, y - 8, 15);
    sheet.text(`${b}°`, x + base - 22, y - 8, 15, { anchor: 'end' });
    return sheet.text('γ', ax, ay + 30, 17, { anchor: 'middle', font: 'bold' });
  };
  return {
    topic: 'geometry',
    zh: '几何',
    cell: `${a}/${b}`,
    lines: [`Triangle with angles ${a}° and ${b}°.`, 'Find the angle γ.'],
    figure,
    steps: [`${a}° + ${b}° = ${a + b}°`, `γ = 180° - ${a + b}°`, `γ = ${c}°`],
    ask: 'How large is the angle γ',
    askZh: '角 γ 是多少度',
    answer: `${c}°`,
  };
}

function area(random) {
  const [a, b] = [draw.int(random, 4, 19), draw.int(random, 3, 12)];
  const figure = (sheet, x, y) => {
    sheet.rect(x, y - 110, 190, 110, { fill: '#eef7ea' });
    sheet.text(`${b} cm`, x + 200, y - 50, 15);
    return sheet.text(`${a} cm`, x + 95, y + 22, 15, { anchor: 'middle' });
  };
  return {
    topic: 'geometry',
    zh: '几何',
    cell: `${a}*${b}`,
    lines: ['Find the area of the rectangle.'],
    figure,
    steps: ['area = length × width', `${a} cm × ${b} cm`, `area = ${a * b} cm²`],
    ask: 'What is the area of the rectangle',
    askZh: '长方形的面积是多少',
    answer: `${a * b} cm²`,
  };
}

function pythagoras(random) {
  const [a, b, c] = draw.one(random, TRIPLES);
  const figure = (sheet, x, y) => {
    sheet.add(`<path d="M${x} ${y}h180v-120z" fill="#fbf1e6" stroke="#1c2430" stroke-width="2"/>`);
    sheet.rect(x + 166, y - 14, 14, 14, { width: 1 });
    sheet.text(`${b}`, x + 90, y + 22, 16, { anchor: 'middle' });
    sheet.text(`${a}`, x + 190, y - 54, 16);
    return sheet.text('c', x + 76, y - 68, 18, { font: 'bold' });
  };
  return {
    topic: 'geometry',
    zh: '几何',
    cell: `${a},${b}`,
    lines: ['Right triangle: find the side c.'],
    figure,
    steps: ['c² = a² + b²', `c² = ${a * a} + ${b * b} = ${c * c}`, `c = ${c}`],
    ask: 'How long is the side c',
    askZh: '边 c 有多长',
    answer: String(c),
  };
}

/** One sheet. Cell: the kind of problem and its numbers. */
export function problem(random, index) {
  const name = Object.keys(KINDS)[index % 6];
  const p = KINDS[name](random);
  const steps = random() < 0.5;
  const number = draw.int(random, 100, 999);
  const sheet = new Sheet(520, 600, '#fffefa');
  sheet.text(`Problem ${number}`, 36, 58, 25, { font: 'bold' });
  sheet.line(36, 74, 484, 74, { width: 1 });
  let y = 118;
  let box = null;
  let stepBoxes = [];
  for (const line of p.lines) {
    box = sheet.text(line, 36, y, 21);
    y += 34;
  }
  if (p.figure) {
    y += 180;
    box = p.figure(sheet, 110, y);
    y += 60;
  }
  if (steps) {
    sheet.text('Steps', 36, y + 6, 17, { font: 'bold', colour: '#1a56b0' });
    stepBoxes = p.steps.map((step, i) => sheet.text(`${i + 1}.  ${step}`, 50, y + 38 + i * 32, 18));
    box = stepBoxes.at(-1);
  } else {
    sheet.rect(36, y + 10, 448, 96, { width: 1, stroke: '#9aa5b1' });
    sheet.text('Answer:', 48, y + 36, 15, { colour: '#6b7683' });
  }
  const record = {
    item_id: `problem-${String(index).padStart(2, '0')}`,
    title: `Problem ${number}`,
    text: `Problem sheet, ${p.topic}. ${steps ? 'With steps.' : 'Without solution.'} 练习题，${p.zh}${steps ? '，附步骤' : ''}。`,
    attributes: {
      kind: 'problem',
      family: name,
      topic: p.topic,
      sku: `PB-${number}-${index}`,
      grade: draw.int(random, 4, 8),
      with_steps: steps,
    },
  };
  const questions = [
    {
      kind: 'picture',
      question: `${p.ask} in problem ${number}?`,
      question_zh: `第 ${number} 题：${p.askZh}？`,
      answer: p.answer,
      boxes: [{ label: steps ? 'last step' : 'problem', xyxy: box }],
    },
  ];
  if (steps)
    questions.push({
      kind: 'picture',
      question: `What is the first step in problem ${number}?`,
      question_zh: `第 ${number} 题的第一步是什么？`,
      answer: p.steps[0],
      boxes: [{ label: 'first step', xyxy: stepBoxes[0] }],
    });
  return { cell: `problem/${name}/${p.cell}`, svg: String(sheet), seen: sheet.seen, steps: p.steps, record, questions };
}
