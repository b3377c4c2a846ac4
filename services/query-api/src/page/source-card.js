import { showAsset } from './asset-picture.js';
import { element, relevanceMeter } from './result-card.js';

/** The `n` that an answer writes as `[n]`, of a citation id. */
export function numberOf(citationId) {
  return Number(citationId.slice(1));
}

/** One source of an answer as a list item; `cite` says later what became of it, `point` leads to it. */
export function sourceCard({ citation_id: citationId, asset_id: assetId, item_id: itemId, title, relevance_score: score }) {
  const n = numberOf(citationId);
  const name = title || itemId || 'Untitled';
  const picture = element('img', { alt: '', loading: 'lazy', width: 112, height: 112 });
  const figure = element('figure', {}, [picture]);
  // Of a passage there is none, and of a picture that has gone since.
  showAsset(picture, assetId, 256, () => picture.replaceWith(element('p', { text: 'No picture' })));
  const quote = element('blockquote', { dir: 'auto' });
  quote.hidden = true;
  const use = element('span', { className: 'use' });
  const node = element('li', { className: 'source', tabindex: -1 }, [
    figure,
    element('div', { className: 'body' }, [
      element('h3', {}, [element('span', { className: 'number', text: `[${n}]` }), ` ${name}`]),
      relevanceMeter(score, null, false),
      quote,
      element('p', { className: 'foot' }, [
        element('span', { className: 'where', text: itemId ?? '', title: itemId ?? '' }),
        use,
      ]),
    ]),
  ]);
  return {
    n,
    name,
    node,
    /** `citation` null: the answer does not name it. */
    cite(citation) {
      node.classList.toggle('unused', citation === null);
      use.textContent = citation ? 'cited' : 'not cited';
      quote.hidden = !citation?.quote;
      quote.textContent = citation?.quote ?? '';
    },
    point() {
      for (const other of document.querySelectorAll('.source.pointed')) other.classList.remove('pointed');
      node.classList.add('pointed');
      const isCalm = matchMedia('(prefers-reduced-motion: reduce)').matches;
      node.focus({ preventScroll: true });
      node.scrollIntoView({ block: 'center', behavior: isCalm ? 'auto' : 'smooth' });
    },
  };
}
