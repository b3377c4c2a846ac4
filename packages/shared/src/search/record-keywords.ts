import type { PointRecord } from '../contracts/records.ts';
import { analyse } from '../retrieval/analyser.ts';

/** Of a record's text; passages are shorter. */
const MOST_TEXT_CHARS = 4_000;
const MOST_REMEMBERED = 2_000;

/** The distinct keywords of records, remembered: the same ones are candidates of many searches, and analysing is the dearest part of a fusion. */
export class RecordKeywords {
  readonly #remembered = new Map<string, Set<string>>();

  of({ itemId, title, text, attributes }: PointRecord): Set<string> {
    const whole = [itemId, title, text.slice(0, MOST_TEXT_CHARS), ...Object.values(attributes).flat().map(String)].join('\n');
    const known = this.#remembered.get(whole);
    if (known) return known;
    const keywords = new Set(analyse(whole));
    this.#remembered.set(whole, keywords);
    const oldest = this.#remembered.keys().next().value;
    if (this.#remembered.size > MOST_REMEMBERED && oldest !== undefined) this.#remembered.delete(oldest);
    return keywords;
  }
}
