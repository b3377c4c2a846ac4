import { analyse, analyseQuery } from '@sightline/shared/retrieval/analyser';
import { unitNamed } from './claim-units.ts';

const DENIES =
  /\b(?:not|no|never|none|neither|nor|without|cannot|lacks?|lacking|isn't|aren't|wasn't|doesn't|don't|didn't|can't|won't|un(?:available|suitable|supported))\b|不|没|無|无法|未|非(?!常)/iu;

/** Nothing is claimed by saying that one does not know. */
const STATES_NOTHING =
  /\b(?:(?:i|we) (?:do not|don't|cannot|can't|could not|couldn't) (?:know|tell|say|answer|find|see|determine)|(?:sources?|passages?|records?|catalogue|context|information|pictures?|images?) (?:do|does|did) ?(?:not|n't) (?:say|state|mention|show|tell|give|contain|provide|include)|(?:no|not enough) (?:information|answer)\b|(?:is|are) not (?:known|stated|given|mentioned|specified) in)|我不知道|不清楚|无法(?:确定|回答|得知|判断)|(?:没有|未)(?:提到|提及|说明|注明|给出|相关)/iu;

export function denies(text: string): boolean {
  return DENIES.test(text);
}

export function statesNothing(sentence: string): boolean {
  return STATES_NOTHING.test(sentence) || !/[\p{L}\p{N}]/u.test(sentence.replace(/\[\d{1,2}\]/g, ''));
}

/**
 * The share of a sentence's different content words, by the analyser that the index is made with, that stand in its sources.
 * Numbers, codes and units are not among them: those are compared as what they are. 1 where nothing else is said.
 */
export function coverage(sentence: string, source: string): number {
  const words = new Set(analyseQuery(sentence).filter((word) => !/\d/.test(word) && unitNamed(word) === null));
  if (words.size === 0) return 1;
  const standing = new Set(analyse(source));
  return [...words].filter((word) => standing.has(word)).length / words.size;
}
