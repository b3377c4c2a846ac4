import sharp from 'sharp';
import { pictureOfSet } from './question-set.ts';
import { escaped } from './report-html.ts';
import type { EvaluatedAnswer } from './run.ts';

const MOST_SHOWN = 60;
const WIDTH_PX = 460;
const QUALITY = 70;

interface Shown {
  id: string;
  href: string;
  widthPx: number;
  heightPx: number;
}

/** Answers of the whole pipeline that are wrong, or right with a box astray: with the pictures, what was expected and what was given. */
export async function failuresSection(answers: readonly EvaluatedAnswer[], dir: string): Promise<string> {
  const failures = answers.filter(
    ({ scores }) => scores['accuracy'] === 0 || scores['refusal'] === 0 || (scores['box_iou50'] ?? 1) < 1,
  );
  if (failures.length === 0) return '<p>None.</p>';
  const shown = spread(failures);
  const pictures = new Map<string, Shown>();
  for (const { image } of shown) {
    if (image === null || pictures.has(image)) continue;
    const picture = await pictureOf(dir, image, `picture-${pictures.size + 1}`);
    if (picture) pictures.set(image, picture);
  }
  // Each picture is in the page once, however many questions are about it.
  const symbols = [...pictures.values()].map(
    ({ id, href, widthPx, heightPx }) => `<image id="${id}" href="${href}" width="${widthPx}" height="${heightPx}"/>`,
  );
  const cards = shown.map((failure) => card(failure, pictures.get(failure.image ?? '') ?? null));
  return `<p class="soft">${failures.length} of ${answers.length}, of which ${shown.length} are shown, spread over the kinds. <span class="key expected" style="border-color:#1a7f37"></span>expected <span class="key" style="border-color:#d1480c;border-top-style:dashed"></span>given</p>
<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>${symbols.join('')}</defs></svg>
<div class="failures">${cards.join('\n')}</div>`;
}

/** In turn of each kind and family, so that the commonest does not fill the page. */
function spread(failures: readonly EvaluatedAnswer[]): EvaluatedAnswer[] {
  const groups = [...Map.groupBy(failures, ({ kind, family }) => `${kind} ${family}`).values()];
  const longest = Math.max(...groups.map(({ length }) => length));
  return Array.from({ length: longest }, (_, i) => groups.flatMap((group) => group[i] ?? []))
    .flat()
    .slice(0, MOST_SHOWN);
}

/** As it is stored, not turned: that is the frame of the boxes. Null where it is not there or is no picture. */
async function pictureOf(dir: string, image: string, id: string): Promise<Shown | null> {
  const data = await pictureOfSet(dir, image);
  if (data === null) return null;
  try {
    const bytes = Buffer.from(data.slice(data.indexOf(',') + 1), 'base64');
    const { width, height } = await sharp(bytes).metadata();
    const small = await sharp(bytes)
      .flatten({ background: 'white' })
      .resize({ width: WIDTH_PX, withoutEnlargement: true })
      .webp({ quality: QUALITY })
      .toBuffer();
    return { id, href: `data:image/webp;base64,${small.toString('base64')}`, widthPx: width, heightPx: height };
  } catch {
    return null;
  }
}

function card(failure: EvaluatedAnswer, picture: Shown | null): string {
  const { id, kind, family, language, asked, expected, answer, error, cited, scores, judged, item_id: itemId } = failure;
  const term = (name: string, html: string) => `<dt>${name}</dt><dd>${html}</dd>`;
  const right =
    expected.length === 0 ? '<em>it is not in the catalogue</em>' : expected.map(escaped).join(' <span class="soft">or</span> ');
  const verdict = [
    scores['accuracy'] === 1 ? 'right' : 'wrong',
    ...(scores['false_refusal'] === 1 ? ['refused'] : []),
    ...(scores['box_iou50'] === undefined ? [] : [`boxes ${(scores['box_iou50'] * 100).toFixed(0)} %`]),
  ];
  const grades =
    judged === null
      ? ''
      : Object.entries(judged)
          .map(([aspect, { score, reason }]) => `${escaped(aspect)} ${score}: ${escaped(reason)}`)
          .join('<br>');
  return `<article class="failure">${picture ? overlay(failure, picture) : ''}
<dl>${term(`${escaped(kind)}, ${escaped(family)}, ${language}`, escaped(asked))}
${term('expected', right)}
${term(expected.length === 0 ? 'given' : `given (${verdict.join(', ')})`, answer === null ? `<em>${escaped(error ?? 'nothing')}</em>` : escaped(answer))}
${term('cited', cited.length === 0 ? '<em>nothing</em>' : `${cited.map(escaped).join(', ')}${itemId === null || cited.includes(itemId) ? '' : `; not ${escaped(itemId)}`}`)}
${grades === '' ? '' : term('judged', grades)}</dl><small>${escaped(id)}</small></article>`;
}

function overlay({ image, boxes }: EvaluatedAnswer, { id, widthPx, heightPx }: Shown): string {
  const stroke = Math.max(1.5, widthPx / 220);
  const rect = ([left, top, right, bottom]: readonly number[], kind: string) =>
    `<rect class="${kind}" x="${left}" y="${top}" width="${Math.max(0, (right ?? 0) - (left ?? 0))}" height="${Math.max(0, (bottom ?? 0) - (top ?? 0))}" fill="none" stroke-width="${stroke}"/>`;
  const here = boxes.given.filter(({ key }) => key !== null && image !== null && (key === image || key.endsWith(`/${image}`)));
  const rects = [...boxes.expected.map((box) => rect(box, 'expected')), ...here.map(({ pixels }) => rect(pixels, 'given'))];
  return `<svg viewBox="0 0 ${widthPx} ${heightPx}" role="img" aria-label="the picture that shows the answer"><use href="#${id}"/>${rects.join('')}</svg>`;
}
