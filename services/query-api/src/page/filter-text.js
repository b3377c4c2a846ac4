const PART = /^([A-Za-z0-9_][A-Za-z0-9_.-]*)(>=|<=|=|>|<)(.+)$/;
const RANGE = { '>=': 'gte', '<=': 'lte', '>': 'gt', '<': 'lt' };

/**
 * A filter as it is typed (`kind=product colour=red,blue price>=10 name="two words"`) as the interface wants it. Throws an
 * Error that says which part is not understood.
 */
export function parseFilter(text) {
  const filter = {};
  for (const part of text.match(/(?:[^\s"]|"[^"]*")+/g) ?? []) {
    const match = PART.exec(part);
    if (!match) throw new Error(`“${part}” is not understood: write attribute=value, or price>=10.`);
    const [, name, operator, value] = match;
    if (operator === '=') {
      const values = value.match(/(?:[^,"]|"[^"]*")+/g)?.map(scalar) ?? [];
      filter[name] = values.length === 1 ? values[0] : values;
      continue;
    }
    const bound = Number(value);
    if (!Number.isFinite(bound)) throw new Error(`“${part}”: ${operator} compares numbers.`);
    const known = filter[name];
    filter[name] = { ...(typeof known === 'object' && !Array.isArray(known) ? known : {}), [RANGE[operator]]: bound };
  }
  return filter;
}

/** Numbers and booleans keep their type; quotes make anything a word. */
function scalar(text) {
  const quoted = /^"(.*)"$/.exec(text);
  if (quoted) return quoted[1];
  if (text === 'true' || text === 'false') return text === 'true';
  return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
}
