import { showAsset } from './asset-picture.js';
import { call } from './call.js';
import { parseFilter } from './filter-text.js';
import { watchIngestions } from './ingestion-progress.js';
import { storedKey, storeKey } from './key.js';
import { dataUrlOf } from './picture-file.js';
import { element, resultCard } from './result-card.js';

const PAGE_SIZE = 12;
const $ = (id) => document.getElementById(id);
const form = $('form');
const words = $('words');
const results = $('results');

/** What is searched with beside the words: `{ data }` of a file, or `{ asset_id }` of a result. */
let picture = null;
let index = null;
let running = null;

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
    await search();
  } catch (error) {
    showNotices([error.message], 'warn');
  }
}

// The search.

function request() {
  const query = words.value.trim();
  const filter = parseFilter($('filter').value);
  return {
    ...(query ? { query } : {}),
    ...(picture ? { image: picture } : {}),
    mode: new FormData(form).get('mode'),
    alpha: Number($('alpha').value),
    limit: PAGE_SIZE,
    explain: $('explain').checked,
    ...(Object.keys(filter).length > 0 ? { filter } : {}),
  };
}

async function search() {
  showBalance();
  if (!words.value.trim() && !picture) return showStart();
  running?.abort();
  const mine = new AbortController();
  running = mine;
  document.body.classList.add('busy');
  try {
    const asked = request();
    remember(asked);
    const answer = await ask(asked, mine.signal);
    show(asked, answer);
  } catch (error) {
    if (mine.signal.aborted) return;
    results.replaceChildren();
    $('more').hidden = true;
    $('summary').textContent = '';
    showProblem(error);
  } finally {
    if (running === mine) document.body.classList.remove('busy');
  }
}

function ask(asked, signal) {
  return call('/v1/search', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(asked),
    signal,
  });
}

/** What the answer's scores are read by. */
function judgement(asked, answer) {
  const withPicture = Boolean(asked.image) && asked.mode !== 'text';
  const withWords = Boolean(asked.query);
  const kind =
    answer.degraded && !withPicture ? 'keywords' : withPicture ? (withWords && !answer.degraded ? 'both' : 'picture') : 'words';
  const legs = new Set();
  if (asked.mode !== 'text') legs.add('image');
  if (withPicture && withWords && asked.mode !== 'text') legs.add('words');
  if (withWords && asked.mode !== 'visually_similar') legs.add('text').add('keywords');
  return { withPicture, legs, threshold: index?.calibration.thresholds[kind] ?? 0.5 };
}

function show(asked, answer) {
  showNotices(
    answer.warnings.filter((warning) => !warning.startsWith('not_calibrated')).map((warning) => sentence(warning)),
    answer.degraded ? 'warn' : '',
  );
  const judged = judgement(asked, answer);
  const grid = element(
    'ul',
    { className: 'grid' },
    answer.results.map((result) => resultCard(result, judged, { onSimilar })),
  );
  const { encode, index: legs, fuse, total } = answer.timings_ms;
  const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
  // Who asks for what is similar knows that the thing itself is left out: the nearest are the answer.
  const isSimilar = Boolean(asked.image?.asset_id);
  const count = answer.results.length;
  const found = answer.no_match
    ? isSimilar
      ? 'The nearest; probably none is the same thing'
      : 'No match'
    : `${answer.next_cursor ? 'First ' : ''}${count} ${count === 1 ? 'result' : 'results'}`;
  $('summary').textContent = `${found} · ${ms(total)} (encode ${ms(encode)}, index ${ms(legs)}, fuse ${ms(fuse)})`;
  if (answer.no_match && !(isSimilar && count > 0)) {
    const nothing = element('div', { className: 'empty' }, [
      element('h2', { text: 'Nothing in the catalogue matches' }),
      element('p', {
        text: asked.query
          ? `“${asked.query}” was compared with ${holdings()}; even the nearest is probably something else.`
          : 'Even the nearest picture is probably something else.',
      }),
    ]);
    const parts = [nothing];
    if (answer.results.length > 0)
      parts.push(
        element('details', { className: 'nearest' }, [element('summary', { text: 'Show the nearest all the same' }), grid]),
      );
    results.replaceChildren(...parts);
    $('more').hidden = true;
    return;
  }
  results.replaceChildren(grid);
  offerMore(asked, answer, grid);
}

function offerMore(asked, answer, grid) {
  const button = $('more');
  button.hidden = !answer.next_cursor;
  button.onclick = async () => {
    button.disabled = true;
    try {
      const next = await ask({ ...asked, cursor: answer.next_cursor });
      grid.append(...next.results.map((result) => resultCard(result, judgement(asked, next), { onSimilar })));
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

/** A warning is a code, a colon, and what it means. */
function sentence(warning) {
  const meaning = warning.replace(/^[a-z_]+: /, '');
  return meaning.charAt(0).toUpperCase() + meaning.slice(1);
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
    ]),
  );
}

// The key, where the server asks for one.

/** A problem as a notice; one with the key brings the field for it. */
function showProblem(error) {
  const asksForKey = error.code === 'api_key_missing' || error.code === 'api_key_invalid';
  if (asksForKey) askForKey();
  // Nobody was refused who has not tried yet.
  showNotices(error.code === 'api_key_missing' ? [] : [error.message], 'warn');
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

async function loadIndex() {
  try {
    index = await call('/v1/index');
    $('key-form').hidden = true;
    $('key-forget').hidden = !storedKey();
    form.inert = false;
    $('holdings').textContent =
      `${holdings()} indexed${index.calibration.fitted || index.assets === 0 ? '' : ' · relevance not calibrated'}`;
    return true;
  } catch (error) {
    showProblem(error);
    return false;
  }
}

// What a person does.

form.addEventListener('submit', (event) => {
  event.preventDefault();
  void search();
});
form.addEventListener('change', (event) => {
  showBalance();
  if (event.target !== words && event.target !== $('file')) void search();
});
form.addEventListener('input', showBalance);
$('file').addEventListener('change', () => void takeFile($('file').files[0]));
$('chosen-remove').addEventListener('click', () => {
  usePicture(null);
  void search();
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
      if (!words.value.trim() && !picture) showStart();
    },
  },
);
