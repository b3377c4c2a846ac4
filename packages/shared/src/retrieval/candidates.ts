import type { Filter } from '../contracts/filter.ts';
import type { PointRecord } from '../contracts/records.ts';
import type { AssetPoint, LegHit } from '../ports/vector-index.ts';
import { cosine } from './cosine.ts';
import { matchesFilter } from './filter-match.ts';

/** `picture` and `words` search the visual space, with the query's picture and with its words. */
export type LegName = 'picture' | 'words' | 'text' | 'keywords';

/** What a leg answered. `vector` is the query's, for the cosines of candidates that other legs brought. */
export interface LegAnswer {
  name: LegName;
  vector: Float32Array | null;
  hits: LegHit[];
  /** Candidates (after joining) that count as listed by this leg. */
  k: number;
}

/** A leg's word on one candidate. Rank from 1, null when the leg did not list it; score null where there is nothing to compare. */
export interface Signal {
  rank: number | null;
  score: number | null;
}

/** One thing that can become a result: an item with what its best asset of each leg says, or one asset. */
export interface Candidate {
  /** Ties are broken by this. */
  key: string;
  itemId: string | null;
  /** The asset to show: the one that looks best; without pictures the one whose text fits best. */
  asset: AssetPoint;
  /** The record to show, of the asset whose text fits best; null for a picture without a record. */
  record: PointRecord | null;
  /** The same record as each of the joined assets carries it: passages differ in their text. */
  records: PointRecord[];
  assetIds: string[];
  signals: Record<LegName, Signal>;
}

interface Member {
  point: AssetPoint;
  record: PointRecord | null;
}

/**
 * Joins the legs' hits on the item (its best asset per leg) or on the asset. A cosine that a leg did not report is computed
 * from the stored vector, never taken as zero. A picture that several records name stands for each of them that satisfies
 * the filter; a picture without a record stands for itself. `points` holds every hit, with vectors; tombstones and hits that
 * vanished in between are skipped.
 */
export function joinCandidates(
  legs: LegAnswer[],
  points: Map<string, AssetPoint>,
  options: { groupBy: 'item' | 'asset'; filter: Filter | undefined },
): Candidate[] {
  const members = new Map<string, Member[]>();
  const keysOfAsset = new Map<string, string[]>();
  for (const point of points.values()) {
    if (point.deleted) continue;
    for (const [key, record] of keysOf(point, options)) {
      const group = members.get(key) ?? [];
      group.push({ point, record });
      members.set(key, group);
      keysOfAsset.set(point.assetId, [...(keysOfAsset.get(point.assetId) ?? []), key]);
    }
  }
  const answers = legs.map((leg) => ({
    leg,
    ranks: rankKeys(leg, keysOfAsset),
    scores: new Map(leg.hits.map((hit) => [hit.assetId, hit.score])),
  }));
  return [...members].map(([key, group]) => {
    const signals: Candidate['signals'] = {
      picture: { rank: null, score: null },
      words: { rank: null, score: null },
      text: { rank: null, score: null },
      keywords: { rank: null, score: null },
    };
    const best: Partial<Record<LegName, Member>> = {};
    for (const { leg, ranks, scores } of answers) {
      const top = bestMember(group, (point) => scoreOf(leg, point, scores));
      signals[leg.name] = { rank: ranks.get(key) ?? null, score: top?.score ?? null };
      if (top) best[leg.name] = top.member;
    }
    const shown = pictureToShow(group, best.picture ?? best.words) ?? best.text ?? best.keywords ?? firstById(group);
    const told = best.text ?? best.keywords ?? shown;
    const records = group.flatMap((member) => member.record ?? []);
    return {
      key,
      itemId: told.record?.itemId ?? null,
      asset: shown.point,
      record: told.record,
      records,
      assetIds: group.map((member) => member.point.assetId),
      signals,
    };
  });
}

function keysOf(
  point: AssetPoint,
  options: { groupBy: 'item' | 'asset'; filter: Filter | undefined },
): [string, PointRecord | null][] {
  const records = point.records.filter((record) => matchesFilter(record, options.filter));
  const [first] = records;
  if (options.groupBy === 'asset' || !first) return [[`asset:${point.assetId}`, first ?? null]];
  return records.map((record) => [`item:${record.itemId}`, record]);
}

/** Ranks of the join keys within a leg: a key's first hit places it, and only the first k keys are listed. */
function rankKeys(leg: LegAnswer, keysOfAsset: Map<string, string[]>): Map<string, number> {
  const ranks = new Map<string, number>();
  for (const { assetId } of leg.hits) {
    for (const key of keysOfAsset.get(assetId) ?? []) {
      if (!ranks.has(key) && ranks.size < leg.k) ranks.set(key, ranks.size + 1);
    }
  }
  return ranks;
}

function scoreOf(leg: LegAnswer, point: AssetPoint, scores: Map<string, number>): number | null {
  const reported = scores.get(point.assetId);
  if (reported !== undefined) return reported;
  const stored = leg.name === 'text' ? point.vectors?.text : leg.name === 'keywords' ? undefined : point.vectors?.image;
  return stored && leg.vector ? cosine(leg.vector, stored) : null;
}

function bestMember(group: Member[], score: (point: AssetPoint) => number | null): { member: Member; score: number } | undefined {
  let best: { member: Member; score: number } | undefined;
  for (const member of group) {
    const value = score(member.point);
    if (value === null) continue;
    if (!best || value > best.score || (value === best.score && member.point.assetId < best.member.point.assetId))
      best = { member, score: value };
  }
  return best;
}

function pictureToShow(group: Member[], best: Member | undefined): Member | undefined {
  if (best) return best;
  const pictures = group.filter((member) => member.point.kind === 'picture');
  return pictures.length > 0 ? firstById(pictures) : undefined;
}

function firstById(group: Member[]): Member {
  return group.reduce((first, member) => (member.point.assetId < first.point.assetId ? member : first));
}
