/**
 * What a server that can be held to a schema is held to (`GenerateRequest.schema`), and what `readAnswerJson` reads. `image` is the
 * `n` of the source whose picture it is, 0 for the question's; `box` is in the frame that the model's profile names.
 */
export const ANSWER_SCHEMA: { name: string; schema: Record<string, unknown> } = {
  name: 'answer',
  schema: {
    type: 'object',
    additionalProperties: false,
    required: ['answer', 'not_found'],
    properties: {
      answer: { type: 'string' },
      steps: { type: 'array', items: { type: 'string' } },
      citations: { type: 'array', items: { type: 'integer' } },
      boxes: {
        type: 'array',
        items: {
          type: 'object',
          additionalProperties: false,
          required: ['image', 'label', 'box'],
          properties: {
            image: { type: 'integer', description: 'n of the source whose picture it is; 0: the picture of the question' },
            label: { type: 'string' },
            box: { type: 'array', items: { type: 'number' }, minItems: 4, maxItems: 4 },
          },
        },
      },
      not_found: { type: 'boolean' },
    },
  },
};

export interface JsonBox {
  /** The number as written (`2`), one that can only be a source's (`c2`), or null where none was said. */
  image: number | { source: number } | null;
  label: string;
  box: number[];
}

export interface JsonAnswer {
  answer: string;
  steps: string[];
  citations: number[];
  boxes: JsonBox[];
  notFound: boolean;
}

const MAX_ENTRIES = 256;

/**
 * Reads a model's JSON: alone, or in a fence with or without words around it. What is malformed within is left out. Of JSON that is
 * cut or broken the `answer` is saved, as far as it goes. Null where there is no JSON with an answer: then it is a text.
 */
export function readAnswerJson(text: string): JsonAnswer | null {
  const candidate = jsonPart(text);
  if (candidate === null) return null;
  const value = parse(candidate) ?? parse(candidate.slice(0, candidate.lastIndexOf('}') + 1));
  if (value === null) {
    const answer = salvageAnswer(candidate);
    return answer === null ? null : { answer, steps: [], citations: [], boxes: [], notFound: false };
  }
  const answer = asText(value['answer']);
  const steps = list(value['steps'])
    .map(asText)
    .filter((step) => step !== null);
  if (answer === null && steps.length === 0) return null;
  return {
    answer: answer ?? '',
    steps,
    citations: list(value['citations'])
      .map(asNumber)
      .filter((n) => n !== null),
    boxes: list(value['boxes']).flatMap(readBox),
    notFound: value['not_found'] === true,
  };
}

function jsonPart(text: string): string | null {
  const trimmed = text.trim();
  if (trimmed.startsWith('{')) return trimmed;
  const fence = /```(?:json)?[ \t]*\r?\n?[ \t]*\{/i.exec(trimmed);
  if (!fence) return null;
  const from = fence.index + fence[0].length - 1;
  const to = trimmed.indexOf('```', from);
  return trimmed.slice(from, to < 0 ? undefined : to).trim();
}

function parse(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

/** The string after `"answer":`, to its end or the text's. */
function salvageAnswer(text: string): string | null {
  const opening = /"answer"\s{0,8}:\s{0,8}"/.exec(text);
  if (!opening) return null;
  const from = opening.index + opening[0].length;
  let to = from;
  while (to < text.length && text[to] !== '"') to += text[to] === '\\' ? 2 : 1;
  const body = text
    .slice(from, Math.min(to, text.length))
    .replace(/\n/g, '\\n')
    .replace(/[\u0000-\u001f]/g, ' ');
  // An escape may be cut in two; the longest is `\u1234`.
  for (let cut = 0; cut <= 6; cut++) {
    try {
      const value: unknown = JSON.parse(`"${body.slice(0, body.length - cut)}"`);
      if (typeof value === 'string' && value.trim() !== '') return value;
    } catch {
      continue;
    }
  }
  return null;
}

function readBox(value: unknown): JsonBox[] {
  if (typeof value !== 'object' || value === null) return [];
  const { image, label, box } = value as Record<string, unknown>;
  const rows = Array.isArray(box) && Array.isArray(box[0]) ? box : [box];
  return rows.slice(0, MAX_ENTRIES).map((row: unknown) => ({
    image: readImage(image),
    label: asText(label) ?? '',
    box: Array.isArray(row)
      ? row.slice(0, 5).map((n: unknown) => (typeof n === 'number' || typeof n === 'string' ? Number(n) : Number.NaN))
      : [],
  }));
}

function readImage(value: unknown): JsonBox['image'] {
  const source = typeof value === 'string' ? /^(?:\[|c|source )(\d{1,2})\]?$/i.exec(value.trim()) : null;
  return source ? { source: Number(source[1]) } : asNumber(value);
}

/** `2`, `"2"`, `"[2]"`, `"c2"`. */
function asNumber(value: unknown): number | null {
  const found = typeof value === 'string' ? /^\D{0,12}(\d{1,3})\D?$/.exec(value.trim())?.[1] : value;
  const n = typeof found === 'string' || typeof found === 'number' ? Number(found) : Number.NaN;
  return Number.isInteger(n) && n >= 0 ? n : null;
}

function asText(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string') && value.length > 0 ? value.join(' ') : null;
}

const list = (value: unknown): unknown[] => (Array.isArray(value) ? value.slice(0, MAX_ENTRIES) : []);
