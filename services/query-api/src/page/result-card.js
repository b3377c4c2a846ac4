import { showAsset } from './asset-picture.js';

/** Catalogue text is a stranger's: it goes in as text, never as markup. */
export function element(tag, { className, text, ...attributes } = {}, children = []) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

const LEGS = [
  { name: 'image', label: ({ withPicture }) => (withPicture ? 'Looks like it' : 'Picture shows it') },
  { name: 'words', label: () => 'Picture shows it' },
  { name: 'text', label: () => 'Text says it' },
  { name: 'keywords', label: () => 'Same words' },
];

/** One result as a list item. `judged`: what the search had, and the threshold of "nothing matches". */
export function resultCard(result, judged, { onSimilar }) {
  const title = result.title || result.object?.key.split('/').at(-1) || result.item_id || 'Untitled';
  const isBelow = result.relevance_score < judged.threshold;
  const figure = element('figure');
  if (result.object) {
    const picture = element('img', {
      alt: title,
      loading: 'lazy',
      width: 248,
      height: 208,
    });
    showAsset(picture, result.asset_id, 384, () =>
      picture.replaceWith(element('p', { className: 'textual', text: 'The picture cannot be shown.' })),
    );
    figure.append(picture);
  } else {
    figure.append(element('p', { className: 'textual', text: result.text }));
  }
  if (result.explain?.code) figure.append(element('span', { className: 'badge', text: 'exact code' }));

  const body = element('div', { className: 'body' }, [element('h3', { text: title })]);
  if (result.text && result.object) body.append(element('p', { className: 'text', text: result.text, title: result.text }));
  body.append(relevanceMeter(result.relevance_score, judged.threshold, isBelow));
  if (result.explain) body.append(explanation(result.explain, judged));
  const foot = element('div', { className: 'foot' }, [
    element('span', { className: 'where', text: result.item_id ?? result.object?.key ?? '', title: result.object?.key ?? '' }),
  ]);
  if (result.object) {
    const similar = element('button', { type: 'button', text: 'Similar', 'aria-label': `Find pictures similar to ${title}` });
    similar.addEventListener('click', () => onSimilar(result));
    foot.append(similar);
  }
  body.append(foot);
  return element('li', { className: isBelow ? 'card below' : 'card' }, [figure, body]);
}

/** `threshold` null: where a match begins is not known. */
export function relevanceMeter(score, threshold, isBelow) {
  const percent = `${Math.round(score * 100)} %`;
  const meter = element(
    'span',
    { className: 'meter', role: 'img', 'aria-label': `Relevance ${percent}${isBelow ? ', below the threshold of a match' : ''}` },
    [element('i'), ...(threshold === null ? [] : [element('b')])],
  );
  meter.style.setProperty('--share', `${score * 100}%`);
  meter.style.setProperty('--threshold', `${threshold * 100}%`);
  meter.title = `Calibrated probability that this answers the query.${threshold === null ? '' : ' The mark is where a match begins.'}`;
  return element('div', { className: 'relevance' }, [meter, element('span', { text: percent })]);
}

function explanation(explain, judged) {
  const rows = LEGS.filter(({ name }) => explain[name] && judged.legs.has(name)).map(({ name, label }) => {
    const { rank, score } = explain[name];
    const place = rank === null ? 'not listed' : ordinal(rank);
    const className = [rank === 1 ? 'first' : '', score === null && rank === null ? 'none' : ''].join(' ').trim();
    const unit = name === 'keywords' ? 'BM25' : 'cosine';
    return element('div', className ? { className } : {}, [
      element('dt', { text: label(judged) }),
      element('dd', {
        text: place,
        title: rank === null ? 'This leg did not list it among its candidates.' : `${ordinal(rank)} of this leg's candidates`,
      }),
      element('dd', {
        text: score === null ? '–' : score.toFixed(name === 'keywords' ? 1 : 3),
        title:
          score === null
            ? rank === null
              ? 'Nothing to compare.'
              : 'Not told where tenants share an index.'
            : `${unit} ${score}`,
      }),
    ]);
  });
  if (explain.alignment !== null) {
    rows.push(
      element('div', { title: 'Share of the visual agreement among all candidates (softmax with the model’s own scale).' }, [
        element('dt', { text: 'Alignment' }),
        element('dd', { text: `${(explain.alignment * 100).toFixed(explain.alignment < 0.1 ? 1 : 0)} %` }),
        element('dd', { text: '' }),
      ]),
    );
  }
  return element('dl', { className: 'legs' }, rows);
}

function ordinal(n) {
  const tens = n % 100;
  const suffix = tens > 10 && tens < 14 ? 'th' : ({ 1: 'st', 2: 'nd', 3: 'rd' }[n % 10] ?? 'th');
  return `${n}${suffix}`;
}
