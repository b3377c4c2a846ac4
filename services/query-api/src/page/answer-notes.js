import { element } from './result-card.js';
import { warningSentence } from './warning-sentence.js';

export const VERDICTS = {
  supported: 'supported',
  unsupported: 'not supported by its source',
  not_checked: 'not checked',
};

export function staleNote() {
  return element('div', { className: 'notice warn' }, [
    element('p', { text: 'Stale: a cited source has changed or gone since. Ask again for an answer from what is there now.' }),
  ]);
}

export function checks(claims) {
  if (claims.length === 0) return [];
  const counts = Object.keys(VERDICTS).flatMap((verdict) => {
    const count = claims.filter((claim) => claim.verdict === verdict).length;
    return count > 0 ? [`${count} ${VERDICTS[verdict]}`] : [];
  });
  const items = claims.map(({ text, verdict, score }) =>
    element('li', { className: verdict }, [
      element('span', { className: 'flag', text: VERDICTS[verdict] + (score === null ? '' : ` (${Math.round(score * 100)} %)`) }),
      ` ${text}`,
    ]),
  );
  return [
    element('details', { className: 'claims' }, [
      element('summary', { text: `Statements: ${counts.join(', ')}` }),
      element('ul', { dir: 'auto' }, items),
    ]),
  ];
}

export function remarks(warnings) {
  if (warnings.length === 0) return [];
  return [
    element(
      'ul',
      { className: 'remarks' },
      warnings.map((warning) => element('li', { text: warningSentence(warning) })),
    ),
  ];
}

export function making({ question_id: id, model, prompt_version: version, timings_ms: timings, usage }) {
  const rows = [
    ['Model', model ?? 'not asked'],
    ['Prompt', version ?? '–'],
    ...(timings ? durations(timings, model !== null) : []),
    ...(usage && model !== null
      ? [
          ['Tokens', `${usage.prompt_tokens} read, ${usage.completion_tokens} written`],
          ['Pictures it saw', usage.images],
        ]
      : []),
    ['Question', id],
  ];
  return element('details', { className: 'making' }, [
    element('summary', { text: 'How it was made' }),
    element(
      'dl',
      {},
      rows.map(([name, value]) => element('div', {}, [element('dt', { text: name }), element('dd', { text: value })])),
    ),
  ]);
}

function durations(timings, wasAsked) {
  const rows = [
    ['Queue', timings.queue],
    ['Retrieval', timings.retrieve],
  ];
  if (wasAsked) {
    rows.push(['Prompt made', timings.prompt]);
    if (timings.first_token !== null) rows.push(['First token', timings.first_token]);
    rows.push(['Generation', timings.generate], ['Checks', timings.ground]);
  }
  return rows.map(([name, value]) => [name, ms(value)]);
}

export function ms(value) {
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
