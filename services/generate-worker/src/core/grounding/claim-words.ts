import { analyse, analyseQuery } from '@sightline/shared/retrieval/analyser';
import { unitNamed } from './claim-units.ts';

const DENIES =
  /\b(?:not|no|never|none|neither|nor|without|cannot|lacks?|lacking|out of|sold out|isn't|aren't|wasn't|doesn't|don't|didn't|can't|won't|un(?:available|suitable|supported))\b|不|没|無|无法|未|非(?!常)/iu;

const DENIES_ALL = new RegExp(DENIES.source, 'giu');

/** Nothing is claimed by saying that one does not know. */
const STATES_NOTHING =
  /\b(?:(?:i|we) (?:do not|don't|cannot|can't|could not|couldn't) (?:know|tell|say|answer|find|see|determine)|(?:sources?|passages?|records?|catalogue|context|information|pictures?|images?) (?:do|does|did) ?(?:not|n't) (?:say|state|mention|show|tell|give|contain|provide|include)|(?:no|not enough) (?:information|answer)\b|(?:is|are) not (?:known|stated|given|mentioned|specified) in)|我不知道|不清楚|无法(?:确定|回答|得知|判断)|(?:没有|未)(?:提到|提及|说明|注明|给出|相关)/iu;

export function denies(text: string): boolean {
  return DENIES.test(text);
}

export function statesNothing(sentence: string): boolean {
  return STATES_NOTHING.test(sentence) || !/[\p{L}\p{N}]/u.test(sentence.replace(/\[\d{1,2}\]/g, ''));
}

/** Words of claims that say nothing a source could hold, stemmed as the analyser does. */
const EMPTY = new Set(
  'come made make both each also same one two contain includ provid offer featur accord sourc record pictur imag item seem appear given state mention thi belong call'.split(
    ' ',
  ),
);
/** Said of attributes in other words than their names. */
const SAME = new Map([
  ['cost', 'price'],
  ['price', 'price'],
  ['sell', 'price'],
  ['weigh', 'weight'],
  ['avail', 'stock'],
  ['color', 'colour'],
  ['售价', 'price'],
  ['价格', 'price'],
  ['颜色', 'colour'],
  ['库存', 'stock'],
  ['现货', 'stock'],
]);
/** Chinese function characters would make bigrams with their neighbours that stand nowhere. Words that SAME knows stand apart. */
const HAN_FUNCTION = /这|那|是|[一两]?[款张个件]|为|的|了|有|和|与|及|其|可以|带|附|配|都|也|在|（|）/gu;
const HAN_SAME = /售价|价格|颜色|库存|现货/gu;

/**
 * The share of a sentence's different content words, by the analyser that the index is made with, that stand in its sources.
 * Numbers, codes and units are not among them: those are compared as what they are. 1 where nothing else is said.
 */
export function coverage(sentence: string, source: string): number {
  const words = contentWords(sentence);
  if (words.size === 0) return 1;
  const standing = new Set(analyse(source).map((word) => SAME.get(word) ?? word));
  return [...words].filter((word) => standing.has(word)).length / words.size;
}

function contentWords(sentence: string): Set<string> {
  const apart = sentence.replace(HAN_FUNCTION, ' ').replace(HAN_SAME, ' $& ').replace(DENIES_ALL, ' ');
  const words = analyseQuery(apart).filter((word) => !/\d/.test(word) && !EMPTY.has(word) && unitNamed(word) === null);
  return new Set(words.map((word) => SAME.get(word) ?? word));
}

/** `in_stock: false`. */
const BOOLEAN = /^([\p{L}\p{N}_.-]{1,64}): (true|false)$/gmu;

/**
 * Whether a sentence and its source deny different things, as far as words tell: what the source's place says, or, where the sentence
 * speaks of an attribute that is true or false, that. Two sources that say both count as different.
 */
export function negationDiffers(sentence: string, place: string, source: string): boolean {
  const words = contentWords(sentence);
  const said = [...source.matchAll(BOOLEAN)]
    .filter(([, name]) => {
      const named = [...contentWords(name!.replaceAll('_', ' '))];
      return named.length > 0 && named.every((word) => words.has(word));
    })
    .map(([, , value]) => value === 'false');
  return said.length > 0 ? said.some((denied) => denied !== denies(sentence)) : denies(sentence) !== denies(place);
}
