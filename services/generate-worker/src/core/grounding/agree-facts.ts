import type { Facts, Quantity } from './claim-facts.ts';

const CLOSE = 1e-9;

/** What a claim says in numbers, units and codes that stands in none of its sources, as written. */
export function missingFacts(claim: Facts, source: Facts): string[] {
  const quantities = claim.quantities.filter((quantity) => !stands(quantity, source)).map(({ text }) => text);
  const codes = [...claim.codes].filter((code) => !source.codes.has(code));
  return [...quantities, ...codes];
}

/** A catalogue's price often says no currency, nor does a count say of what. */
const OFTEN_UNSAID = new Set(['eur', 'usd', 'gbp', 'cny']);

/**
 * Equal in value and kind of unit, converted exactly; where the units differ in size, also when the source's value, told in the
 * claim's unit, rounds to what the claim says (3.07 inches are 78 mm). After `about`, any rounding to the claim's own decimals counts.
 * A claim's number without a unit agrees with that number in any. A source's number without one agrees with a currency, or where the
 * source names the kind of unit elsewhere (`sizes in mm`), unless it has the same number with other units.
 */
function stands(claimed: Quantity, { quantities: source, kinds }: Facts): boolean {
  if (/^\p{L}/u.test(claimed.text) && !claimed.unit) return standsAsWord(claimed, source);
  const sameNumber = source.filter((quantity) => meets(claimed.values, quantity.values));
  if (!claimed.unit)
    return sameNumber.length > 0 || (claimed.rounded && source.some((quantity) => roundsTo(claimed, quantity, 1)));
  const { kind } = claimed.unit;
  if (source.some((quantity) => quantity.unit?.kind === kind && agrees(claimed, quantity))) return true;
  const mayBe = OFTEN_UNSAID.has(kind) || kinds.has(kind);
  const bare = source.filter(({ unit }) => !unit);
  const agreesBare = bare.some(
    (quantity) => meets(claimed.values, quantity.values) || (claimed.rounded && roundsTo(claimed, quantity, 1)),
  );
  return mayBe && agreesBare && !sameNumber.some(({ unit }) => unit);
}

/** `two`, `三个`: loose language (`one of two`), so that only a source with other counts and not this one speaks against it. */
function standsAsWord(claimed: Quantity, source: Quantity[]): boolean {
  return source.every(({ unit }) => unit) || source.some(({ values }) => meets(claimed.values, values));
}

function agrees(claimed: Quantity, found: Quantity): boolean {
  const factor = found.unit!.factor / claimed.unit!.factor;
  if (claimed.values.some((a) => found.values.some((b) => Math.abs(a - b * factor) <= CLOSE * Math.max(1, a)))) return true;
  return (claimed.rounded || factor !== 1) && roundsTo(claimed, found, factor);
}

/** To two figures at least, where nobody said `about`: `0 m` is not every length. */
function roundsTo(claimed: Quantity, found: Quantity, factor: number): boolean {
  const unitOfRounding = 10 ** -claimed.decimals;
  const least = claimed.rounded ? unitOfRounding : 10 * unitOfRounding;
  return claimed.values.some(
    (a) => a >= least && found.values.some((b) => Math.abs(a - b * factor) <= unitOfRounding / 2 + CLOSE),
  );
}

const meets = (a: number[], b: number[]) => a.some((x) => b.some((y) => Math.abs(x - y) <= CLOSE * Math.max(1, x)));
