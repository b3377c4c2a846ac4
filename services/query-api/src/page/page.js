import { answerView } from './answer-view.js';
import { showAsset } from './asset-picture.js';
import { call } from './call.js';
import { parseFilter } from './filter-text.js';
import { followQuestion } from './follow-question.js';
import { watchIngestions } from './ingestion-progress.js';
import { storedKey, storeKey } from './key.js';
import { dataUrlOf } from './picture-file.js';
import { element } from './result-card.js';
import { resultCards, searchResults } from './search-results.js';
import { warningSentence } from './warning-sentence.js';

const PAGE_SIZE = 12;
/** Fields whose change does not search anew. */
const OF_NO_SEARCH = ['words', 'file', 'show-steps', 'language'];
const $ = (id) => document.getElementById(id);
const form = $('form');
const words = $('words');
const results = $('results');

/** What is searched with beside the words: `{ data }` of a file, or `{ asset_id }` of a result. */
let picture = null;
let index = null;
let running = null;
/** Whether an answer is shown: what is changed in the form then waits until it is sent. */
let isAnswering = false;
let isSending = false;

// The picture.

function usePicture(next) {
  picture = next;
  $('chosen').hidden = !next;
  if (next?.asset_id) showAsset($('chosen-picture'), next.asset_id, 96);
  else if (next) $('chosen-picture').src = next.data;
  else $('chosen-picture').removeAttribute('src');
  $('file').value = '';
  showBalance();
}

async function takeFile(file) {
  if (!file) return;
  try {
    const data = await dataUrlOf(file);
    usePicture({ data });
    if (!isAnswering) await search();
  } catch (error) {
    showNotices([error.message], 'warn');
  }
}

/** What a search and a question have in common. */
function compared() {
  const filter = parseFilter($('filter').value);
  return {
    ...(picture ? { image: picture } : {}),
    mode: new FormData(form).get('mode'),
    alpha: Number($('alpha').value),
    ...(Object.keys(filter).length > 0 ? { filter } : {}),
  };
}

function post(address, body, signal) {
  const headers = { 'content-type': 'application/json' };
  return call(address, { method: 'POST', headers, body: JSON.stringify(body), signal });
}

/** One thing at a time: what was running is given up. `onProblem` comes before the problem is shown. */
async function run(work, onProblem) {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  document.body.classList.add('busy');
  try {
    await work(mine.signal);
  } catch (error) {
    if (mine.signal.aborted) return;
    onProblem();
    showProblem(error);
  } finally {
    if (running === mine) document.body.classList.remove('busy');
  }
}

// The search.

function request() {
  const query = words.value.trim();
  return { ...(query ? { query } : {}), ...compared(), limit: PAGE_SIZE, explain: $('explain').checked };
}

async function search() {
  showBalance();
  setAnswering(false);
  if (!words.value.trim() && !picture) return showStart();
  await run(
    async (signal) => {
      const asked = request();
      remember(asked);
      show(asked, await post('/v1/search', asked, signal));
    },
    () => {
      results.replaceChildren();
      $('more').hidden = true;
      $('summary').textContent = '';
    },
  );
}

function show(asked, answer) {
  showNotices(
    answer.warnings.filter((warning) => !warning.startsWith('not_calibrated')).map(warningSentence),
    answer.degraded ? 'warn' : '',
  );
  const { line, nodes, grid, isNothing } = searchResults(asked, answer, { ...judgedBy(), among: holdings() });
  $('summary').textContent = line;
  results.replaceChildren(...nodes);
  if (isNothing) $('more').hidden = true;
  else offerMore(asked, answer, grid);
}

function judgedBy() {
  return { thresholds: index?.calibration.thresholds, onSimilar };
}

function offerMore(asked, answer, grid) {
  const button = $('more');
  button.hidden = !answer.next_cursor;
  button.onclick = async () => {
    button.disabled = true;
    try {
      const next = await post('/v1/search', { ...asked, cursor: answer.next_cursor });
      grid.append(...resultCards(asked, next, judgedBy()));
      offerMore(asked, next, grid);
    } catch (error) {
      showNotices([error.message], 'warn');
    } finally {
      button.disabled = false;
    }
  };
}

function onSimilar(result) {
  words.value = '';
  usePicture({ asset_id: result.asset_id });
  window.scrollTo({ top: 0, behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' });
  void search();
}

// The question.

async function ask() {
  const question = words.value.trim();
  if (!question && !picture) {
    showNotices(['A question needs words, a picture, or both.'], '');
    return words.focus();
  }
  // Not disabled meanwhile: the focus would be lost.
  if (isSending) return;
  isSending = true;
  await run(
    async (signal) => {
      const language = $('language').value;
      const more = { show_steps: $('show-steps').checked, ...(language ? { language } : {}) };
      const accepted = await post('/v1/questions', { question, ...compared(), ...more }, signal);
      history.pushState(null, '', `?question=${encodeURIComponent(accepted.question_id)}`);
      follow({ ...accepted, question }, signal);
    },
    () => undefined,
  );
  isSending = false;
}

/** A question that was asked before, by its address. */
function openQuestion(id) {
  return run(
    async (signal) => {
      const known = await call(`/v1/questions/${encodeURIComponent(id)}`, { signal });
      words.value = known.question;
      follow(known, signal);
    },
    () => results.replaceChildren(),
  );
}

function follow(accepted, signal) {
  setAnswering(true);
  showNotices([], '');
  $('more').hidden = true;
  const view = answerView(results, {
    question: accepted.question,
    say: (line) => ($('summary').textContent = line),
    onCancel: () =>
      call(accepted.links.self, { method: 'DELETE' }).then(view.done, (error) => {
        // It ended meanwhile, which the stream tells.
        if (error.code !== 'question_state') showProblem(error);
        throw error;
      }),
  });
  followQuestion(accepted, view, signal).catch((error) => {
    if (signal.aborted) return;
    view.broke();
    showProblem(error);
  });
}

function setAnswering(is) {
  isAnswering = is;
  document.body.classList.toggle('answering', is);
}

/** Words and asset ids make an address; a file stays here. */
function remember({ query, image, mode }) {
  const state = new URLSearchParams();
  if (query) state.set('q', query);
  if (image?.asset_id) state.set('asset', image.asset_id);
  if (mode !== 'hybrid') state.set('mode', mode);
  const address = state.size > 0 ? `?${state}` : '/';
  if (address !== location.search) history.pushState(null, '', address);
}

function readAddress() {
  const state = new URLSearchParams(location.search);
  const question = state.get('question');
  if (question) {
    usePicture(null);
    return void openQuestion(question);
  }
  words.value = state.get('q') ?? '';
  const mode = form.querySelector(`input[name=mode][value="${CSS.escape(state.get('mode') ?? 'hybrid')}"]`);
  if (mode) mode.checked = true;
  const asset = state.get('asset');
  usePicture(asset ? { asset_id: asset } : null);
  void search();
}

// What is said beside the results.

function showNotices(texts, kind) {
  $('notices').replaceChildren(
    ...texts.map((text) => element('div', { className: `notice ${kind}`.trim() }, [element('p', { text })])),
  );
}

function holdings() {
  return index ? `${index.assets.toLocaleString()} ${index.assets === 1 ? 'asset' : 'assets'}` : 'the catalogue';
}

function showBalance() {
  const both = Boolean(picture) && words.value.trim() !== '' && new FormData(form).get('mode') === 'hybrid';
  // It counts only when words and a picture are compared together.
  $('balance').hidden = !both;
  $('alpha-value').textContent = Number($('alpha').value).toFixed(2);
}

function showStart() {
  running?.abort();
  $('summary').textContent = '';
  $('more').hidden = true;
  showNotices([], '');
  if (index && index.assets === 0) {
    results.replaceChildren(
      element('div', { className: 'empty' }, [
        element('h2', { text: 'Nothing is indexed yet' }),
        element('p', { text: 'Point it at a folder of pictures, or at a manifest with records:' }),
        element('code', { text: 'npm run ingest -- path/to/folder' }),
        element('p', { text: 'Progress appears here; search as soon as the first pictures are in.' }),
      ]),
    );
    return;
  }
  results.replaceChildren(
    element('div', { className: 'empty' }, [
      element('h2', { text: `Search ${holdings()}` }),
      element('p', {
        text: 'By what a picture shows, by what its record says, by a picture of your own, or by words and a picture together. A code such as AM4 is found exactly.',
      }),
      element('p', { text: 'Or ask it something: the answer names its sources, and marks in the pictures what it saw.' }),
    ]),
  );
}

// The key, where the server asks for one.

/** A problem as a notice; one with the key brings the field for it. */
function showProblem(error) {
  const asksForKey = error.code === 'api_key_missing' || error.code === 'api_key_invalid';
  if (asksForKey) askForKey();
  // Nobody was refused who has not tried yet.
  if (error.code === 'api_key_missing') return showNotices([], '');
  const said = error.code === 'scope_missing' ? `The key has not the scope “${error.message}”.` : error.message;
  const wait = error.status === 429 && error.retryAfter ? ` Try again in ${error.retryAfter} s.` : '';
  showNotices([`${said}${wait}${error.code ? ` (${error.code})` : ''}`], 'warn');
}

function askForKey() {
  $('key-form').hidden = false;
  $('key-forget').hidden = true;
  form.inert = true;
  index = null;
  results.replaceChildren();
  $('holdings').textContent = '';
  $('key').focus();
}

async function useKey() {
  storeKey($('key').value.trim());
  $('key').value = '';
  if (!(await loadIndex())) return;
  showNotices([], '');
  readAddress();
  words.focus();
}

$('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  void useKey();
});
$('key-forget').addEventListener('click', () => {
  storeKey('');
  location.assign('/');
});

function letIn() {
  $('key-form').hidden = true;
  $('key-forget').hidden = !storedKey();
  form.inert = false;
}

async function loadIndex() {
  try {
    index = await call('/v1/index');
    letIn();
    $('holdings').textContent =
      `${holdings()} indexed${index.calibration.fitted || index.assets === 0 ? '' : ' · relevance not calibrated'}`;
    return true;
  } catch (error) {
    // A key that may ask may not search, or the other way round.
    if (error.code === 'scope_missing') letIn();
    showProblem(error);
    return false;
  }
}

// What a person does.

form.addEventListener('submit', (event) => {
  event.preventDefault();
  void (event.submitter === $('ask') ? ask() : search());
});
form.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
  event.preventDefault();
  void ask();
});
form.addEventListener('change', (event) => {
  showBalance();
  if (!isAnswering && !OF_NO_SEARCH.includes(event.target.id)) void search();
});
form.addEventListener('input', showBalance);
$('file').addEventListener('change', () => void takeFile($('file').files[0]));
$('chosen-remove').addEventListener('click', () => {
  usePicture(null);
  if (!isAnswering) void search();
  words.focus();
});
let dragDepth = 0;
document.addEventListener('dragenter', (event) => {
  event.preventDefault();
  dragDepth++;
  document.body.classList.add('dropping');
});
document.addEventListener('dragleave', () => {
  dragDepth--;
  if (dragDepth <= 0) document.body.classList.remove('dropping');
});
document.addEventListener('dragover', (event) => event.preventDefault());
document.addEventListener('drop', (event) => {
  event.preventDefault();
  dragDepth = 0;
  document.body.classList.remove('dropping');
  void takeFile(event.dataTransfer.files[0]);
});
document.addEventListener('paste', (event) => {
  const [file] = event.clipboardData.files;
  if (file) void takeFile(file);
});
window.addEventListener('popstate', readAddress);

if (await loadIndex()) readAddress();
watchIngestions(
  { strip: $('progress'), text: $('progress-text'), bar: $('progress-bar') },
  {
    isAllowed: () => index !== null,
    onFinished: async () => {
      if (!(await loadIndex())) return;
      if (!isAnswering && !words.value.trim() && !picture) showStart();
    },
  },
);
