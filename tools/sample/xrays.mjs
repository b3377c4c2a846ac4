/** X-ray-like pictures of a lower spine, drawn, not taken: vertebrae L1 to L5 of which at most one is odd. No patient. */
import { Sheet, draw } from './sheet.mjs';

const FINDINGS = {
  compressed: { en: 'compressed (its height is much reduced)', zh: '压缩（高度明显变小）' },
  shifted: { en: 'shifted sideways against its neighbours', zh: '向一侧移位' },
  dense: { en: 'much denser (brighter) than the others', zh: '密度明显增高（更亮）' },
  fractured: { en: 'crossed by a dark fracture line', zh: '有一条暗的骨折线' },
};
const grey = (v) => `rgb(${v},${v},${v})`;

/** A vertebral body with a waist, pedicles, spinous and transverse processes around (x, y); returns its body's box. */
function vertebra(sheet, { x, y, w, h, light }) {
  const [l, r, t, b] = [x - w / 2, x + w / 2, y - h / 2, y + h / 2];
  const bone = grey(light);
  sheet.add(
    `<path d="M${l - 62} ${y + 4}Q${l - 30} ${y - 16} ${l + 6} ${y - 6}L${l + 6} ${y + 10}Q${l - 30} ${y + 2} ${l - 60} ${y + 14}z" fill="${bone}" opacity="0.5"/>`,
  );
  sheet.add(
    `<path d="M${r + 62} ${y + 4}Q${r + 30} ${y - 16} ${r - 6} ${y - 6}L${r - 6} ${y + 10}Q${r + 30} ${y + 2} ${r + 60} ${y + 14}z" fill="${bone}" opacity="0.5"/>`,
  );
  sheet.add(
    `<path d="M${l} ${t}Q${x} ${t + h * 0.1} ${r} ${t}Q${r - w * 0.09} ${y} ${r} ${b}Q${x} ${b - h * 0.1} ${l} ${b}Q${l + w * 0.09} ${y} ${l} ${t}z" fill="${bone}" opacity="0.9" stroke="${grey(Math.min(255, light + 45))}" stroke-width="3"/>`,
  );
  for (const side of [-1, 1])
    sheet.add(
      `<ellipse cx="${x + side * w * 0.3}" cy="${y - h * 0.12}" rx="9" ry="${Math.max(6, h * 0.18)}" fill="none" stroke="${grey(Math.min(255, light + 50))}" stroke-width="3" opacity="0.8"/>`,
    );
  sheet.add(
    `<ellipse cx="${x}" cy="${y + h * 0.22}" rx="7" ry="${h * 0.32}" fill="${grey(Math.min(255, light + 40))}" opacity="0.7"/>`,
  );
  return sheet.box(l - 3, t - 3, r + 3, b + 3);
}

function body(sheet, random) {
  sheet.add(
    '<defs><radialGradient id="soft"><stop offset="0" stop-color="rgb(96,96,96)"/><stop offset="0.7" stop-color="rgb(52,52,52)"/><stop offset="1" stop-color="rgb(14,14,14)"/></radialGradient><filter id="blur"><feGaussianBlur stdDeviation="2.2"/></filter></defs>',
  );
  sheet.add(
    `<ellipse cx="${sheet.width / 2}" cy="${sheet.height / 2}" rx="${sheet.width * 0.62}" ry="${sheet.height * 0.7}" fill="url(#soft)"/><g filter="url(#blur)">`,
  );
  for (const side of [-1, 1]) {
    for (let rib = 0; rib < 2; rib += 1) {
      const y = 26 + rib * 42;
      sheet.add(
        `<path d="M${sheet.width / 2 + side * 40} ${y}q${side * 70} -6 ${side * 165} ${48 + rib * 14}" fill="none" stroke="${grey(118)}" stroke-width="13" opacity="0.55"/>`,
      );
    }
    const wing = draw.int(random, 0, 16);
    sheet.add(
      `<path d="M${sheet.width / 2 + side * 62} ${sheet.height - 72}q${side * 60} ${-70 - wing} ${side * 140} -20v110h${-side * 120}z" fill="${grey(128)}" opacity="0.6"/>`,
    );
  }
  sheet.add(`<path d="M${sheet.width / 2 - 66} ${sheet.height - 78}h132l-34 90h-64z" fill="${grey(150)}" opacity="0.85"/>`);
}

/** One picture. Cell: the odd vertebra and what is odd. */
export function xray(random, index) {
  const finding = random() < 0.15 ? null : draw.one(random, Object.keys(FINDINGS));
  const odd = finding ? draw.int(random, 1, 5) : 0;
  const labelled = random() < 0.7;
  const sheet = new Sheet(420, 600, '#0a0a0a');
  body(sheet, random);
  const [lean, sway] = [(random() - 0.5) * 26, (random() - 0.5) * 30];
  const boxes = [];
  let y = 104;
  for (let n = 1; n <= 5; n += 1) {
    const is = n === odd ? finding : null;
    const h = is === 'compressed' ? 34 : 60 + n * 1.5;
    const x =
      210 + Math.sin((n / 5) * Math.PI) * sway + lean * (n / 5 - 0.5) + (is === 'shifted' ? 30 * (random() < 0.5 ? -1 : 1) : 0);
    y += h / 2;
    const place = {
      x: Math.round(x),
      y: Math.round(y),
      w: 96 + n * 6,
      h,
      light: (is === 'dense' ? 208 : 138) + draw.int(random, -6, 6),
    };
    const box = sheet.note(`vertebra ${is}`, vertebra(sheet, place));
    if (is === 'fractured')
      sheet.add(
        `<path d="M${box[0] + 4} ${place.y + 10}l${place.w * 0.3} -14 ${place.w * 0.25} 12 ${place.w * 0.42} -16" fill="none" stroke="${grey(22)}" stroke-width="6"/>`,
      );
    boxes.push(box);
    y += h / 2 + 15;
  }
  sheet.add('</g>');
  if (labelled)
    boxes.forEach((b, i) => sheet.text(`L${i + 1}`, 26, (b[1] + b[3]) / 2 + 6, 17, { font: 'bold', colour: '#e8e8e8' }));
  const code = `R-${draw.int(random, 1000, 9999)}`;
  sheet.text(`${code}  AP`, 404, 26, 14, { colour: '#d0d0d0', anchor: 'end' });
  const where = odd ? [{ label: `L${odd}`, xyxy: boxes[odd - 1] }] : [];
  const questions = [
    {
      kind: 'picture',
      question: `Which vertebra is abnormal in radiograph ${code}?`,
      question_zh: `X光片 ${code} 中哪一节椎骨异常？`,
      answer: odd ? `L${odd}` : 'None: L1 to L5 look alike.',
      ...(!odd && { answer_zh: '无：L1 至 L5 相同。' }),
      boxes: where,
    },
  ];
  if (odd)
    questions.push({
      kind: 'picture',
      question: `What is the finding at L${odd} in radiograph ${code}?`,
      question_zh: `X光片 ${code} 中 L${odd} 有什么异常？`,
      answer: `It is ${FINDINGS[finding].en}.`,
      answer_zh: `${FINDINGS[finding].zh}。`,
      boxes: where,
    });
  return {
    cell: `xray/L${odd}/${finding}`,
    svg: String(sheet),
    seen: sheet.seen,
    noise: 9,
    record: {
      item_id: `xray-${String(index).padStart(2, '0')}`,
      title: `Radiograph ${code}`,
      text: 'Lumbar spine, anteroposterior view. Synthetic drawing, no patient. 腰椎正位X光片（合成图，非真实患者）。',
      attributes: { kind: 'xray', family: 'lumbar-spine', sku: code, view: 'AP', labelled },
    },
    questions,
  };
}
