/** Queries with known answers: read from files of labels, or made from the collection itself. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import sharp from 'sharp';
import { z } from 'zod';
import type { LabelledQuery } from '@sightline/query-api/core/calibrate';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { AssetPoint, VectorIndex } from '@sightline/shared/ports/vector-index';
import { analyseQuery } from '@sightline/shared/retrieval/analyser';

/** A line of sample/recall.jsonl, sample/absent.jsonl, or of a user's own labels. Without `relevant`: nothing answers it. */
export const labelLine = z
  .object({
    query: z.string().min(1).optional(),
    /** A file, relative to the labels. */
    image: z.string().min(1).optional(),
    relevant: z.array(z.string()).default([]),
    lang: z.string().optional(),
    kind: z.string().optional(),
    split: z.string().optional(),
    use: z.enum(['calibration', 'test']).optional(),
  })
  .refine((line) => line.query !== undefined || line.image !== undefined, 'a line needs a query, an image, or both');
export type LabelLine = z.infer<typeof labelLine> & { file: string };

/** Reads JSON Lines; an error names the file and the line. */
export async function readLabels(path: string): Promise<LabelLine[]> {
  const file = resolve(process.env['INIT_CWD'] ?? process.cwd(), path);
  const lines = (await readFile(file, 'utf8')).split('\n');
  return lines.flatMap((line, i) => {
    if (line.trim() === '') return [];
    try {
      return [{ ...labelLine.parse(JSON.parse(line)), file }];
    } catch (error) {
      throw new Error(`${path}:${i + 1} is not a label: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  });
}

/** The picture a label names, as a data URL. */
export async function labelPicture(line: LabelLine): Promise<string | null> {
  if (line.image === undefined) return null;
  return dataUrl(await readFile(join(dirname(line.file), line.image)));
}

export function dataUrl(bytes: Buffer): string {
  return `data:image/unknown;base64,${bytes.toString('base64')}`;
}

/** An order that is the same every time and has nothing to do with the file's. */
export function shuffled<T>(values: T[], nameOf: (value: T) => string): T[] {
  const place = (value: T) => createHash('sha256').update(nameOf(value)).digest('hex');
  return values
    .map((value) => [place(value), value] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, value]) => value);
}

function splitOf(line: LabelLine): 'calibration' | 'test' {
  if (line.use) return line.use;
  if (line.split === 'calibration' || line.split === 'test') return line.split;
  return createHash('sha256').update(`${line.query} ${line.image}`).digest()[0]! % 2 === 0 ? 'calibration' : 'test';
}

/**
 * Labels as queries of every kind: words, pictures, and keywords alone as they stand; queries with both from a picture and words that
 * share their answer (absent: whose file and words share their name, else any two). At most `limit` of each kind, presence and split.
 */
export async function fromLabels(lines: LabelLine[], limit: number): Promise<LabelledQuery[]> {
  const chosen = new Map<string, number>();
  const take = (kind: string, present: boolean, split: string): boolean => {
    const key = `${kind} ${present} ${split}`;
    const count = chosen.get(key) ?? 0;
    chosen.set(key, count + 1);
    return count < limit;
  };
  const mixed = shuffled(lines, (line) => `${line.query} ${line.image} ${line.kind}`);
  const queries: LabelledQuery[] = [];
  for (const line of mixed) {
    const split = splitOf(line);
    const { relevant } = line;
    const present = relevant.length > 0;
    if (line.query !== undefined && line.image === undefined) {
      if (take('words', present, split)) queries.push({ kind: 'words', words: line.query, picture: null, relevant, split });
      if (take('keywords', present, split)) queries.push({ kind: 'keywords', words: line.query, picture: null, relevant, split });
      continue;
    }
    const picture = await labelPicture(line);
    if (line.query !== undefined) {
      if (take('both', present, split)) queries.push({ kind: 'both', words: line.query, picture, relevant, split });
      continue;
    }
    if (take('picture', present, split)) queries.push({ kind: 'picture', words: null, picture, relevant, split });
    const partner =
      mixed.find((other) => other.query !== undefined && other.image === undefined && belongTogether(line, other)) ??
      (present ? undefined : mixed.find((other) => other.query && other.relevant.length === 0));
    if (partner?.query && take('both', present, split))
      queries.push({ kind: 'both', words: partner.query, picture, relevant, split });
  }
  return queries;
}

function belongTogether(picture: LabelLine, words: LabelLine): boolean {
  if (picture.relevant.length > 0) return words.relevant.some((id) => picture.relevant.includes(id));
  const name = picture.image
    ?.split('/')
    .at(-1)
    ?.replace(/\.\w+$/, '');
  return words.relevant.length === 0 && words.query?.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-') === name;
}

/** Everyday things from far apart: those of which no record of a collection has a word stand for what it does not hold. */
const FOREIGN =
  `steam locomotive|wedding cake|volcano eruption|dental chair|bagpipes|submarine|tax form|sourdough bread|chess tournament|kidney stone|rocket launch|ballet dancer|snow plough|beehive|stained glass window|coral reef|parking meter|tuning fork|oil rig|hospital corridor|medieval castle|sushi platter|crossword puzzle|street protest|lighthouse at night|football stadium|wind turbine|laundry basket|fire extinguisher|passport photo|giraffe|violin concerto|swimming pool|traffic jam|desert camel|ice hockey|microscope slide|baby stroller|hot air balloon|coal mine|蒸汽机车|婚礼蛋糕|火山喷发|潜水艇|芭蕾舞演员|珊瑚礁|灯塔|足球场|游泳池|骆驼|中世纪城堡|交通堵塞|显微镜|amortisation schedule|trilobite fossil|otoscope|sousaphone player|velodrome|bathysphere|zeppelin hangar|gallstone ultrasound|harpsichord keys|catamaran regatta|sewage treatment|abattoir|podiatrist|isotope table|opera intermission|quarry blasting|tapestry loom|orthodontic retainer|cement mixer|polling station|grain silo|bobsleigh run|cyclotron|monastery cloister|gondola lift|aqueduct ruins|meteorite crater|sumo wrestler|papyrus scroll|kelp forest|地铁施工|抵押贷款合同|三叶虫化石|管风琴|污水处理厂|回旋加速器|修道院|皮划艇比赛|陨石坑|相扑|纸莎草|齿列矫正|水泥搅拌车|粮仓|采石场|歌剧院|投票站|热气球|小提琴|养蜂人|冰球|煤矿|消防栓|报税表`.split(
    '|',
  );

/**
 * Queries made from the collection itself, where nobody has labelled any. Present: half of a title's words, and the item's picture cropped,
 * shrunk and recompressed. Absent: everyday things none of whose words stands in any record, and each picture again with its own item taken out
 * of the results. Weaker than labels: a foreign thing may yet be pictured, and two items may look alike.
 */
export async function fromCollection(
  index: VectorIndex,
  store: ObjectStore,
  { tenant, limit }: { tenant: string; limit: number },
): Promise<LabelledQuery[]> {
  const points = await samplePoints(index, tenant, limit * 4);
  const queries: LabelledQuery[] = [];
  const foreign: string[] = [];
  for (const words of FOREIGN) {
    const [hits] = await index.search(tenant, undefined, [{ space: 'keywords', keywords: analyseQuery(words), limit: 1 }]);
    if (hits?.length === 0) foreign.push(words);
  }
  foreign.forEach((words, i) =>
    queries.push({ kind: 'words', words, picture: null, relevant: [], split: i % 2 === 0 ? 'calibration' : 'test' }),
  );
  let count = 0;
  for (const point of points) {
    const [record] = point.records;
    const split = count % 2 === 0 ? 'calibration' : 'test';
    const words = record ? halfOf(record.title) : null;
    const name = record?.itemId ?? point.assetId;
    const picture = point.object ? await altered(store, point.object) : null;
    if (picture === null) continue;
    queries.push(
      { kind: 'picture', words: null, picture, relevant: [name], split },
      { kind: 'picture', words: null, picture, relevant: [], without: [name], split },
    );
    if (words !== null) {
      const other = foreign[count % Math.max(1, foreign.length)];
      queries.push(
        { kind: 'words', words, picture: null, relevant: [name], split },
        { kind: 'both', words, picture, relevant: [name], split },
      );
      if (other !== undefined) queries.push({ kind: 'both', words: other, picture, relevant: [], without: [name], split });
    }
    if (++count >= limit) break;
  }
  return queries;
}

async function samplePoints(index: VectorIndex, tenant: string, most: number): Promise<AssetPoint[]> {
  const points: AssetPoint[] = [];
  for (let after = ''; points.length < most;) {
    const page = await index.scan(tenant, { limit: 500, ...(after ? { after } : {}) });
    points.push(...page.filter((point) => !point.deleted && point.kind === 'picture'));
    after = page.at(-1)?.assetId ?? '';
    if (page.length < 500) break;
  }
  // Ids are hashes: their order is already as good as chance.
  return points.slice(0, most);
}

function halfOf(title: string): string | null {
  const parts = /\s/.test(title.trim()) ? title.trim().split(/\s+/) : [...title.trim()];
  if (parts.length < 2) return null;
  return parts.slice(0, Math.ceil(parts.length / 2)).join(/\s/.test(title.trim()) ? ' ' : '');
}

async function altered(store: ObjectStore, object: { bucket: string; key: string }): Promise<string | null> {
  try {
    const { bytes } = await store.get(object, { maxBytes: 64 * 1024 * 1024 });
    const { width, height } = (await sharp(bytes).metadata()).autoOrient;
    const inner = {
      left: Math.floor(width * 0.06),
      top: Math.floor(height * 0.06),
      width: Math.ceil(width * 0.88),
      height: Math.ceil(height * 0.88),
    };
    const cut = await sharp(bytes)
      .autoOrient()
      .flatten({ background: 'white' })
      .extract(inner)
      .resize({ width: 256, withoutEnlargement: true })
      .jpeg({ quality: 45 })
      .toBuffer();
    return dataUrl(cut);
  } catch {
    return null;
  }
}
