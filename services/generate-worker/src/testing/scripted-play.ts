/** How a ScriptedModelServer plays one request. Everything is left out where it is as a good server does it at once. */
export interface Play {
  /** The answer; by default one that follows from the prompt alone, cites [1] and gives a box. */
  text?: string;
  /** Words of the answer that are sent at once; one is the default. */
  wordsAtOnce?: number;
  firstTokenMs?: number;
  tokenMs?: number;
  /** How the answer is ended. `reset`, `close`: after half of it. `hang`: nothing more comes. `unfinished`: without a reason and without [DONE]. */
  ending?: 'stop' | 'length' | 'reset' | 'close' | 'hang' | 'unfinished' | 'error' | 'abort' | 'no_done';
  /** Instead of an answer. */
  instead?:
    | 'hang'
    | 'reset'
    | 'malformed'
    | 'not_a_stream'
    | 'no_choices'
    | 'endless'
    | 'repeating'
    | 'long_line'
    | 'comments'
    | 'empty'
    | 'thinking_only'
    | 'error_at_once';
  /** A refusal, with its message as vLLM writes it. */
  status?: number;
  message?: string;
  errorCode?: string;
  retryAfterS?: number;
  /** Bytes are sent so many at a time, which cuts through characters and lines. */
  bytesAtOnce?: number;
  lineEnd?: '\n' | '\r\n';
  /** Probability of yes; null: no log-probabilities, as of a server that does not know them. */
  yes?: number | null;
}

/** What a prompt is answered with: the same prompt has the same answer, in every process. */
export function answerTo(text: string): string {
  let hash = 2_166_136_261;
  for (const character of text) hash = Math.imul(hash ^ character.codePointAt(0)!, 16_777_619) >>> 0;
  const side = (shift: number) => (hash >>> shift) % 400;
  const box = [side(0), side(8), 500 + side(4), 500 + side(12)];
  return `The part is shown in the first source [1]. It lies at [[${box.join(',')}]] and bears the mark ${hash.toString(16)} [1].`;
}

/** The smallest value of a JSON schema, with `text` wherever a string may stand. */
export function instanceOf(schema: unknown, text: string): unknown {
  const {
    type,
    properties,
    items,
    enum: values,
    anyOf,
  } = (schema ?? {}) as {
    type?: string | string[];
    properties?: Record<string, unknown>;
    items?: unknown;
    enum?: unknown[];
    anyOf?: unknown[];
  };
  if (values) return values[0];
  if (anyOf) return instanceOf(anyOf[0], text);
  switch (Array.isArray(type) ? type[0] : type) {
    case 'object':
      return Object.fromEntries(Object.entries(properties ?? {}).map(([name, inner]) => [name, instanceOf(inner, text)]));
    case 'array':
      return [instanceOf(items, text)];
    case 'string':
      return text;
    case 'integer':
    case 'number':
      return 1;
    case 'boolean':
      return true;
    default:
      return null;
  }
}
