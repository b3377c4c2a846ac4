import { answerFeedback } from './answer-feedback.js';
import { checks, making, ms, remarks, staleNote, VERDICTS } from './answer-notes.js';
import { answerBlocks, textSoFar } from './answer-text.js';
import { showPicture } from './asset-picture.js';
import { element } from './result-card.js';
import { numberOf, sourceCard } from './source-card.js';

/**
 * One question and what comes of it. Everything of it is a stranger's, the model's words too: it goes in as text, never as markup.
 * `root` is filled at once; `say` puts a line into the page's status; `onCancel` is asked for a promise when a person cancels.
 */
export function answerView(root, { question, say, onCancel }) {
  const cancel = element('button', { type: 'button', className: 'quiet', text: 'Cancel' });
  const text = element('div', { className: 'text', dir: 'auto', 'aria-live': 'polite', 'aria-busy': 'true' });
  const beside = element('div');
  const head = element('header', {}, [element('h2', { text: question || 'What is this picture?', dir: 'auto' }), cancel]);
  const answer = element('article', { className: 'answer working', 'aria-label': 'Answer' }, [head, text, beside]);
  const list = element('ul', { className: 'sources' });
  const sources = element('section', { className: 'rests', 'aria-label': 'Sources' }, [element('h2', { text: 'Sources' }), list]);
  sources.hidden = true;
  root.replaceChildren(answer, sources);

  let cards = [];
  let written = '';
  let isOver = false;
  let isCancelling = false;
  let stage = '';

  cancel.addEventListener('click', () => {
    // Not disabled meanwhile: the focus would be lost.
    if (isCancelling) return;
    isCancelling = true;
    onCancel().catch(() => (isCancelling = false));
  });

  function tell(line) {
    if (line !== stage) say(line);
    stage = line;
  }

  function showSources(given) {
    cards = given.map(sourceCard);
    list.replaceChildren(...cards.map(({ node }) => node));
    sources.hidden = cards.length === 0;
  }

  function cite(citations) {
    for (const card of cards) card.cite(citations.find(({ citation_id: id }) => numberOf(id) === card.n) ?? null);
  }

  function end(line) {
    isOver = true;
    // Who pressed it, or was about to, keeps a place in the page.
    if (document.activeElement === cancel) root.focus({ preventScroll: true });
    cancel.remove();
    answer.classList.remove('working');
    text.setAttribute('aria-busy', 'false');
    tell(line);
  }

  return {
    queued() {
      tell('Queued: it waits for its turn.');
    },
    running() {
      tell('Looking for sources …');
    },
    lost() {
      say('The connection was lost; it is taken up again …');
    },
    resumed() {
      say(stage);
    },
    /** Begins an attempt: what another one told is void. */
    retrieved({ sources: given, no_match: isNoMatch }) {
      written = '';
      text.replaceChildren();
      showSources(given);
      if (!isNoMatch) tell(`Reading ${given.length} ${given.length === 1 ? 'source' : 'sources'} …`);
    },
    tokens({ text: more }) {
      tell('Writing …');
      written += more;
      text.replaceChildren(element('p', { text: textSoFar(written) }));
    },
    citations({ citations }) {
      cite(citations);
    },
    done(view) {
      if (isOver) return;
      if (view.status === 'cancelled') end('Cancelled.');
      else if (view.status === 'failed') showFailure(view);
      else showAnswer(view);
    },
    /** The page could not follow it to its end. */
    broke() {
      if (!isOver) end('Not followed to its end.');
    },
  };

  function showFailure({ error }) {
    text.replaceChildren();
    beside.replaceChildren(
      element('div', { className: 'notice warn', role: 'alert' }, [
        element('p', { text: `There is no answer: ${error.detail ?? 'it could not be made.'} ` }, [
          element('code', { text: error.code }),
        ]),
      ]),
    );
    end('Failed.');
  }

  function showAnswer(view) {
    if (cards.length === 0) showSources(view.citations);
    cite(view.citations);
    answer.classList.toggle('unknown', view.no_match === true);
    text.replaceChildren(
      ...paragraphs(
        answerBlocks(
          view,
          cards.map(({ n }) => n),
        ),
        cards,
      ),
    );
    beside.replaceChildren(
      ...(view.stale ? [staleNote()] : []),
      ...pictures(view),
      ...checks(view.claims),
      ...remarks(view.warnings),
      answerFeedback(view),
      making(view),
    );
    end(
      `${view.no_match ? 'Nothing relevant was found' : 'Answered'}${view.timings_ms ? ` · ${ms(view.timings_ms.total)}` : ''}`,
    );
  }
}

function paragraphs(blocks, cards) {
  const nodes = [];
  let steps = null;
  for (const { step, parts } of blocks) {
    const children = parts.flatMap((part) => partNodes(part, cards));
    if (step === null) {
      steps = null;
      nodes.push(element('p', {}, children));
      continue;
    }
    if (!steps) nodes.push((steps = element('ol')));
    steps.append(element('li', { value: step }, children));
  }
  return nodes;
}

function partNodes({ verdict, pieces }, cards) {
  const nodes = pieces.map(({ text, n }) =>
    n === undefined
      ? text
      : citationLink(
          text,
          cards.find((card) => card.n === n),
        ),
  );
  if (verdict !== 'unsupported') return nodes;
  return [element('mark', {}, [...nodes, ' ', element('span', { className: 'flag', text: VERDICTS.unsupported })])];
}

function citationLink(text, card) {
  const link = element('a', { className: 'citation', href: '#results', text, title: card.name });
  link.setAttribute('aria-label', `Source ${card.n}: ${card.name}`);
  link.addEventListener('click', (event) => {
    event.preventDefault();
    card.point();
  });
  return link;
}

/** Those that something is marked on; the others are beside the sources. */
function pictures({ images, boxes }) {
  const marked = images.filter(({ n }) => boxes.some(({ image }) => image === n));
  return marked.map(({ n, source, citation_id: citationId, href }) => {
    const labels = boxes.filter(({ image }) => image === n).map(({ label }) => label || 'unnamed');
    const whose = source === 'question' ? 'The question’s picture' : `Source [${numberOf(citationId)}]`;
    const picture = element('img', { alt: `${whose}, marked: ${labels.join(', ')}` });
    showPicture(picture, href, () => picture.replaceWith(element('p', { text: 'The marked picture cannot be shown.' })));
    return element('figure', { className: 'marked' }, [
      picture,
      element('figcaption', { text: `${whose} · marked: ${labels.join(', ')}`, dir: 'auto' }),
    ]);
  });
}
