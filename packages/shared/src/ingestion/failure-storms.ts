import type { ErrorCode } from '../runtime/errors.ts';

export interface StormLimits {
  /** So many objects in a row are looked at for failures that say more about the surroundings than about the object; 0: never. */
  objects: number;
  /** Of those that fail with one code, from 0 to 1, so many are a storm. */
  share: number;
}

export const STORM_DEFAULTS: Readonly<StormLimits> = { objects: 200, share: 0.9 };

/** Files that are no pictures are common in a bucket: only when practically all are, the source is the wrong one. */
const PICTURES = { factor: 5, share: 0.99 };
const MOST_WATCHED = 1_000;

/** What to do about it, by code. Codes that are not here speak of the object alone. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  object_forbidden: 'Give the credentials of the stack access to these objects.',
  object_not_found: 'Look whether the objects lie where the source says, in that bucket and folder.',
  source_not_found: 'Look whether the bucket or folder is there, and mounted.',
  key_outside_source: "Look whether the keys are meant to lie in the source's folder.",
  encoder_failed: "Look into the encode workers' log: the encoder or its device is at fault.",
  manifest_line_invalid: 'Look whether the file is a manifest: a JSON record on each line.',
};

interface Stretch {
  settled: number;
  byCode: Map<ErrorCode, number>;
}

/**
 * Watches what becomes of an ingestion's objects and tells when nearly all fail alike: access was refused, a disk is not mounted,
 * the source is the wrong one. One process's view: each worker sees the chunks that it works.
 */
export class FailureStorms {
  readonly #limits: StormLimits;
  readonly #seen = new Map<string, Stretch[]>();
  /** When an ingestion was last seen held, in Unix milliseconds. */
  readonly #heldAt = new Map<string, number>();

  constructor(limits: StormLimits) {
    this.#limits = limits;
  }

  /**
   * Notes a chunk's outcome. A storm's reason, for people, when this chunk and those before it are one; else null. What was seen
   * stays seen: the next chunk that fails so, after a resume that mended nothing, is one at once.
   */
  note(ingestionId: string, { settled, failed }: { settled: number; failed: Iterable<ErrorCode> }): string | null {
    const { objects, share } = this.#limits;
    if (objects === 0 || settled === 0) return null;
    const byCode = new Map<ErrorCode, number>();
    for (const code of failed) byCode.set(code, (byCode.get(code) ?? 0) + 1);
    const stretches = this.#seen.get(ingestionId) ?? [];
    stretches.push({ settled, byCode });
    keepNewest(this.#seen, ingestionId, lastOf(stretches, objects * PICTURES.factor));
    const code =
      stormIn(lastOf(stretches, objects), objects, share, (name) => ADVICE[name] !== undefined) ??
      stormIn(lastOf(stretches, objects * PICTURES.factor), objects * PICTURES.factor, PICTURES.share, isPictureCode);
    if (!code) return null;
    const window = lastOf(stretches, isPictureCode(code) ? objects * PICTURES.factor : objects);
    const advice = ADVICE[code] ?? 'Look whether these files are pictures, and this the right source.';
    return (
      `${code}: ${countOf(window, code)} of the last ${settledOf(window)} objects failed with it. ${advice} ` +
      'Then resume; what is resumed with accept_failures is counted as failed instead.'
    );
  }

  /** The ingestion is held at this time, by whomever. */
  noteHold(ingestionId: string, at: number): void {
    keepNewest(this.#heldAt, ingestionId, at);
  }

  /** Whether it was held since `startedAt`: what failed since then may have failed of what a resume has mended. */
  wasHeldSince(ingestionId: string, startedAt: number): boolean {
    return (this.#heldAt.get(ingestionId) ?? -Infinity) >= startedAt;
  }
}

/** The key becomes the newest; of too many the oldest goes. */
function keepNewest<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  const oldest = map.keys().next().value;
  if (map.size > MOST_WATCHED && oldest !== undefined) map.delete(oldest);
}

/** Setting of the ledger that says: the user has seen the storm and wants its failures counted. */
export function acceptsFailuresSetting(ingestionId: string): string {
  return `accepts-failures:${ingestionId}`;
}

function isPictureCode(code: ErrorCode): boolean {
  return code.startsWith('picture_');
}

/** The last stretches that together have `objects`, or all there are. */
function lastOf(stretches: Stretch[], objects: number): Stretch[] {
  let settled = 0;
  let from = stretches.length;
  while (from > 0 && settled < objects) settled += stretches[--from]?.settled ?? 0;
  return stretches.slice(from);
}

function stormIn(window: Stretch[], objects: number, share: number, isMeant: (code: ErrorCode) => boolean): ErrorCode | null {
  const settled = settledOf(window);
  if (settled < objects) return null;
  const codes = new Set(window.flatMap(({ byCode }) => [...byCode.keys()]));
  return [...codes].find((code) => isMeant(code) && countOf(window, code) >= share * settled) ?? null;
}

function settledOf(window: Stretch[]): number {
  return window.reduce((sum, { settled }) => sum + settled, 0);
}

function countOf(window: Stretch[], code: ErrorCode): number {
  return window.reduce((sum, { byCode }) => sum + (byCode.get(code) ?? 0), 0);
}
