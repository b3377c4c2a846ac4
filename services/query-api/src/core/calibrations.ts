import type { Ledger } from '@sightline/shared/ports/ledger';
import {
  calibration,
  calibrationSetting,
  packCalibrationSetting,
  UNCALIBRATED,
  type Calibration,
  type QueryKind,
  type RelevanceModel,
} from '@sightline/shared/retrieval/relevance';
import type { IndexSpec } from '@sightline/shared/ports/vector-index';

/** How long `npm run calibrate` may take to show in a running stack. */
const FRESH_MS = 10_000;

export interface CalibrationDeps {
  ledger: Ledger;
  spec: IndexSpec;
  /** The pack's own where this process knows the pack; else it is looked for in the ledger, where encode workers put it. */
  fromPack: Calibration | null;
  /** Unix milliseconds. */
  now: () => number;
  warn: (message: string) => void;
}

/** The relevance models in force: the collection's own, else the pack's where its fingerprints fit, else built-in guesses. */
export class Calibrations {
  readonly #deps: CalibrationDeps;
  #kept: { at: number; value: { kinds: Record<QueryKind, RelevanceModel>; fitted: boolean } } | null = null;

  constructor(deps: CalibrationDeps) {
    this.#deps = deps;
  }

  async current(): Promise<{ kinds: Record<QueryKind, RelevanceModel>; fitted: boolean }> {
    const now = this.#deps.now();
    if (this.#kept && now - this.#kept.at < FRESH_MS) return this.#kept.value;
    const own = (await this.#stored(calibrationSetting)) ?? this.#fromPack() ?? (await this.#stored(packCalibrationSetting));
    const value = own ? { kinds: own.kinds, fitted: true } : { kinds: UNCALIBRATED, fitted: false };
    this.#kept = { at: now, value };
    return value;
  }

  async #stored(settingOf: typeof calibrationSetting): Promise<Calibration | null> {
    const { image, text } = this.#deps.spec;
    const stored = await this.#deps.ledger.getSetting(settingOf({ image: image.fingerprint, text: text.fingerprint }));
    if (stored === null) return null;
    const parsed = calibration.safeParse(parseJson(stored));
    if (parsed.success) return parsed.data;
    this.#deps.warn('A stored calibration cannot be read and is not used: run `npm run calibrate`.');
    return null;
  }

  #fromPack(): Calibration | null {
    const { fromPack, spec } = this.#deps;
    const fits = fromPack?.fingerprints.image === spec.image.fingerprint && fromPack.fingerprints.text === spec.text.fingerprint;
    return fits ? fromPack : null;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
