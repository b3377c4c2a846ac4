import { call } from './call.js';
import { element } from './result-card.js';

let count = 0;

/**
 * Right, wrong, and what it should have been. Each press is a review of its own that takes the place of the former one. `question`: as
 * GET answers it.
 */
export function answerFeedback({ question_id: id, answer, no_match: isNoMatch }) {
  const path = `/v1/questions/${encodeURIComponent(id)}/feedback`;
  const name = `correction-${++count}`;
  const said = element('p', { className: 'said', role: 'status' });
  const right = element('button', { type: 'button', className: 'quiet', text: 'Right', 'aria-pressed': 'false' });
  const wrong = element('button', {
    type: 'button',
    className: 'quiet',
    text: 'Wrong',
    'aria-pressed': 'false',
    'aria-controls': name,
    'aria-expanded': 'false',
  });
  const field = element('textarea', { id: `${name}-text`, rows: 3, maxlength: 16000, dir: 'auto' });
  const correction = element('form', { id: name, className: 'correction' }, [
    element('label', { for: `${name}-text`, text: 'What should it have been? [1] names a source.' }),
    field,
    element('button', { type: 'submit', className: 'quiet', text: 'Send the correction' }),
  ]);
  correction.hidden = true;
  let isSending = false;

  async function send(review, thanks) {
    // Not disabled meanwhile: the focus would be lost.
    if (isSending) return false;
    isSending = true;
    said.textContent = 'Sending …';
    try {
      const body = JSON.stringify(review);
      await call(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
      said.textContent = thanks;
      right.setAttribute('aria-pressed', String(review.verdict === 'right'));
      wrong.setAttribute('aria-pressed', String(review.verdict === 'wrong'));
      return true;
    } catch (error) {
      said.textContent = `It was not kept: ${error.message}`;
      return false;
    } finally {
      isSending = false;
    }
  }

  function show(isShown) {
    correction.hidden = !isShown;
    wrong.setAttribute('aria-expanded', String(isShown));
  }

  right.addEventListener('click', async () => {
    if (await send({ verdict: 'right' }, 'Kept as right.')) show(false);
  });
  wrong.addEventListener('click', async () => {
    // Once more it would take the place of the correction.
    const isKnown = wrong.getAttribute('aria-pressed') === 'true';
    if (!isKnown && !(await send({ verdict: 'wrong' }, 'Kept as wrong.'))) return;
    if (field.value === '' && !isNoMatch) field.value = answer;
    show(true);
    field.focus();
  });
  correction.addEventListener('submit', (event) => {
    event.preventDefault();
    if (field.value.trim() !== '') void send({ verdict: 'wrong', corrected_answer: field.value }, 'The correction is kept.');
  });
  return element('section', { className: 'feedback', 'aria-label': 'Is this answer right?' }, [
    element('div', { className: 'verdicts' }, [element('span', { text: 'Is this right?' }), right, wrong]),
    correction,
    said,
  ]);
}
