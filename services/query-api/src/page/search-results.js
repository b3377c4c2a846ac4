import { element, resultCard } from './result-card.js';

/**
 * What a search found: `line` says it in short, `nodes` show it, and `grid` is where further pages go (`resultCards`).
 * `among`: what was searched, in words.
 */
export function searchResults(asked, answer, { thresholds, among, onSimilar }) {
  const grid = element('ul', { className: 'grid' }, resultCards(asked, answer, { thresholds, onSimilar }));
  const { encode, index, fuse, total } = answer.timings_ms;
  const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
  // Who asks for what is similar knows that the thing itself is left out: the nearest are the answer.
  const isSimilar = Boolean(asked.image?.asset_id);
  const count = answer.results.length;
  const found = answer.no_match
    ? isSimilar
      ? 'The nearest; probably none is the same thing'
      : 'No match'
    : `${answer.next_cursor ? 'First ' : ''}${count} ${count === 1 ? 'result' : 'results'}`;
  const line = `${found} · ${ms(total)} (encode ${ms(encode)}, index ${ms(index)}, fuse ${ms(fuse)})`;
  const isNothing = answer.no_match && !(isSimilar && count > 0);
  return { line, grid, isNothing, nodes: isNothing ? nothing(asked, among, count > 0 ? grid : null) : [grid] };
}

/** The cards of one page. */
export function resultCards(asked, answer, { thresholds, onSimilar }) {
  const judged = judgement(asked, answer, thresholds);
  return answer.results.map((result) => resultCard(result, judged, { onSimilar }));
}

/** What the answer's scores are read by. */
function judgement(asked, answer, thresholds) {
  const withPicture = Boolean(asked.image) && asked.mode !== 'text';
  const withWords = Boolean(asked.query);
  const kind =
    answer.degraded && !withPicture ? 'keywords' : withPicture ? (withWords && !answer.degraded ? 'both' : 'picture') : 'words';
  const legs = new Set();
  if (asked.mode !== 'text') legs.add('image');
  if (withPicture && withWords && asked.mode !== 'text') legs.add('words');
  if (withWords && asked.mode !== 'visually_similar') legs.add('text').add('keywords');
  return { withPicture, legs, threshold: thresholds?.[kind] ?? 0.5 };
}

function nothing(asked, among, nearest) {
  const said = element('div', { className: 'empty' }, [
    element('h2', { text: 'Nothing in the catalogue matches' }),
    element('p', {
      text: asked.query
        ? `“${asked.query}” was compared with ${among}; even the nearest is probably something else.`
        : 'Even the nearest picture is probably something else.',
    }),
  ]);
  if (!nearest) return [said];
  const summary = element('summary', { text: 'Show the nearest all the same' });
  return [said, element('details', { className: 'nearest' }, [summary, nearest])];
}
