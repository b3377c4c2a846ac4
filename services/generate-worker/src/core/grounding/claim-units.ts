/** A unit's kind of quantity, and how many of that kind's base it is. Exact by definition: an inch is 25.4 mm, a pound 453.59237 g. */
export interface Unit {
  kind: string;
  factor: number;
}

const METRIC_LENGTH: [string, number][] = [
  ['mm', 1],
  ['毫米', 1],
  ['cm', 10],
  ['厘米', 10],
  ['公分', 10],
  ['m', 1000],
  ['米', 1000],
  ['µm', 0.001],
  ['μm', 0.001],
  ['km', 1_000_000],
];
const of = (kind: string, entries: [string, number][]): [string, Unit][] =>
  entries.map(([name, factor]) => [name, { kind, factor }]);
const words = (kind: string, names: string, factor = 1): [string, Unit][] =>
  names.split(' ').map((name) => [name, { kind, factor }]);

/** As they are written once folded to lower case. Currencies are kinds of their own: nobody here converts them. */
const UNITS = new Map<string, Unit>([
  ...of('length', METRIC_LENGTH),
  ...words('length', 'millimetre millimetres millimeter millimeters'),
  ...words('length', 'centimetre centimetres centimeter centimeters', 10),
  ...words('length', 'metre metres meter meters', 1000),
  ...words('length', 'in inch inches " ″ 英寸 寸', 25.4),
  ...words('length', 'ft foot feet 英尺', 304.8),
  ...words('mass', 'g gram grams gramme grammes 克'),
  ...words('mass', 'mg', 0.001),
  ...words('mass', 'kg kilogram kilograms 千克 公斤', 1000),
  ...words('mass', 'lb lbs pound pounds 磅', 453.59237),
  ...words('mass', 'oz ounce ounces 盎司', 28.349523125),
  ...words('volume', 'ml millilitre millilitres milliliter milliliters 毫升'),
  ...words('volume', 'l litre litres liter liters 升', 1000),
  ...words('volume', 'cl', 10),
  ...words('voltage', 'v volt volts 伏 伏特'),
  ...words('voltage', 'mv', 0.001),
  ...words('voltage', 'kv', 1000),
  ...words('current', 'a amp amps ampere amperes 安 安培'),
  ...words('current', 'ma 毫安', 0.001),
  ...words('power', 'w watt watts 瓦 瓦特'),
  ...words('power', 'kw 千瓦', 1000),
  ...words('charge', 'mah 毫安时'),
  ...words('frequency', 'hz 赫兹'),
  ...words('frequency', 'khz', 1e3),
  ...words('frequency', 'mhz', 1e6),
  ...words('frequency', 'ghz', 1e9),
  ...words('temperature', '°c ℃ 摄氏度'),
  ...words('fahrenheit', '°f ℉'),
  ...words('angle', '° degree degrees deg 度'),
  ...words('share', '% percent 百分之'),
  ...words('rotation', 'rpm'),
  ...words('loudness', 'db'),
  ...words('bytes', 'kb', 1e3),
  ...words('bytes', 'mb', 1e6),
  ...words('bytes', 'gb', 1e9),
  ...words('bytes', 'tb', 1e12),
  ...words('pixels', 'px pixel pixels 像素'),
  ...words('time', 's sec secs second seconds 秒'),
  ...words('time', 'min minute minutes 分钟', 60),
  ...words('time', 'h hour hours 小时', 3600),
  ...words('time', 'day days 天 日', 86_400),
  ...words('time', 'week weeks 周', 604_800),
  ...words('eur', '€ eur euro euros 欧元'),
  ...words('usd', '$ usd dollar dollars 美元'),
  ...words('gbp', '£ gbp'),
  ...words('cny', '¥ cny rmb yuan 元 人民币'),
]);

/** Letters that are units in one case alone: `3 A` is a current, `3 a day` is not. */
const ONE_CASE: Record<string, string> = { A: 'a', V: 'v', W: 'w', m: 'm', g: 'g', l: 'l', L: 'l', s: 's', h: 'h' };
const CANDIDATE = /[ \u00a0\t-]?(°[CF]|[℃℉°%€$£¥"″]|[\p{Script=Han}]{1,4}|[A-Za-zµμ]{1,12})/uy;

/** `5 in the box` is no length, `5 in wide` and `5 in.` are. */
const INCH_FOLLOWS = /^(?:\s*$|\s*[^\p{L}\s]|[\s-]+(?:x|by|thick|wide|high|long|deep|tall|across|diameter|in diameter)\b)/iu;

/** The unit that is written at `at` of a text, perhaps after a space or a hyphen, and where it ends. */
export function unitAt(text: string, at: number): { unit: Unit; end: number } | null {
  CANDIDATE.lastIndex = at;
  const match = CANDIDATE.exec(text);
  const name = match?.[1];
  if (!match || name === undefined) return null;
  const end = at + match[0].length;
  if (/^\p{Script=Han}/u.test(name)) {
    // Chinese runs on without spaces: the longest beginning that is a unit.
    for (let length = name.length; length > 0; length--) {
      const unit = UNITS.get(name.slice(0, length));
      if (unit) return { unit, end: end - name.length + length };
    }
    return null;
  }
  const folded = name.length === 1 && /[A-Za-z]/.test(name) ? ONE_CASE[name] : name.toLowerCase();
  const unit = folded === undefined ? undefined : UNITS.get(folded);
  if (!unit) return null;
  if (folded === 'in' && !INCH_FOLLOWS.test(text.slice(end, end + 16))) return null;
  return { unit, end };
}

export function unitNamed(name: string): Unit | null {
  return UNITS.get(name.toLowerCase()) ?? null;
}
