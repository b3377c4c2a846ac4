/** Text into a page. Questions, answers and titles are strangers' texts: everything goes through `escaped`. */
const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** As it can stand between tags and in quoted attributes; control characters and marks that turn the writing round become `�`. */
export function escaped(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(/[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd')
    .replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}

/** A table; cells are HTML. The first column is a row's head. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[], caption = ''): string {
  const head = heads.map((one, i) => `<th scope="col"${i === 0 ? '' : ' class="n"'}>${one}</th>`).join('');
  const body = rows
    .map(
      (cells) =>
        `<tr>${cells.map((cell, i) => (i === 0 ? `<th scope="row">${cell}</th>` : `<td class="n">${cell}</td>`)).join('')}</tr>`,
    )
    .join('\n');
  const told = caption === '' ? '' : `<caption>${caption}</caption>`;
  return `<div class="wide"><table>${told}<thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>`;
}

const STYLE = `
:root { color-scheme: light dark; --back: #fbfbfa; --card: #ffffff; --ink: #1c1e21; --soft: #5d636b; --line: #dcdfe3; --main: #0b62c4; --other: #7d858f; --right: #1a7f37; --wrong: #b35900; }
@media (prefers-color-scheme: dark) { :root { --back: #15171a; --card: #1e2125; --ink: #e8eaed; --soft: #a2a9b2; --line: #373c43; --main: #6db3ff; --other: #8d96a1; --right: #56d364; --wrong: #ffa657; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 84rem; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; } h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p, li { max-width: 62rem; } .soft, caption, figcaption, small { color: var(--soft); } caption { text-align: left; padding-bottom: .4rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; font-weight: normal; white-space: nowrap; }
thead th { color: var(--soft); font-size: .85rem; white-space: normal; vertical-align: bottom; } th.n, td.n { text-align: right; } tbody tr.main th, tbody tr.main td { font-weight: 600; }
svg { max-width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; } svg .soft { fill: var(--soft); }
tbody th { white-space: normal; max-width: 24rem; } tbody th:has(small) { min-width: 17rem; }
.plots { display: flex; flex-wrap: wrap; gap: 1.5rem; } figure { margin: .5rem 0; }
.failures { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 1rem; }
.failure { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem; overflow-wrap: anywhere; }
.failure dl { margin: .3rem 0; } .failure dt { color: var(--soft); font-size: .8rem; } .failure dd { margin: 0 0 .4rem; }
.failure svg { background: #fff; border-radius: 4px; display: block; width: 100%; }
.expected { stroke: #1a7f37; } .given { stroke: #d1480c; stroke-dasharray: 7 4; }
.key { display: inline-block; width: 1.6em; border-top: 3px solid; margin-right: .3em; vertical-align: middle; }
`;

/** A whole page that loads nothing from anywhere and runs nothing. */
export function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
${body}
</body>
</html>
`;
}
