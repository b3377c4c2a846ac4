import type { Ledger } from '../ports/ledger.ts';
import {
  calibration,
  calibrationSetting,
  packCalibrationSetting,
  UNCALIBRATED,
  type Calibration,
  type QueryKind,
  type RelevanceModel,
} from '../retrieval/relevance.ts';
import type { IndexSpec } from '../ports/vector-index.ts';

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

const MOST_TENANTS = 1_000;

type Models = { kinds: Record<QueryKind, RelevanceModel>; fitted: boolean };

/** The relevance models in force: the tenant's collection's own, else the pack's where its fingerprints fit, else built-in guesses. */
export class Calibrations {
  readonly #deps: CalibrationDeps;
  readonly #kept = new Map<string, { at: number; value: Models }>();

  constructor(deps: CalibrationDeps) {
    this.#deps = deps;
  }

  async current(tenant: string): Promise<Models> {
    const now = this.#deps.now();
    const kept = this.#kept.get(tenant);
    if (kept && now - kept.at < FRESH_MS) return kept.value;
    const { image, text } = this.#deps.spec;
    const fingerprints = { image: image.fingerprint, text: text.fingerprint };
    const own =
      (await this.#stored(calibrationSetting(fingerprints, tenant))) ??
      this.#fromPack() ??
      (await this.#stored(packCalibrationSetting(fingerprints)));
    const value = own ? { kinds: own.kinds, fitted: true } : { kinds: UNCALIBRATED, fitted: false };
    this.#kept.delete(tenant);
    this.#kept.set(tenant, { at: now, value });
    const oldest = this.#kept.keys().next().value;
    if (this.#kept.size > MOST_TENANTS && oldest !== undefined) this.#kept.delete(oldest);
    return value;
  }

  async #stored(setting: string): Promise<Calibration | null> {
    const stored = await this.#deps.ledger.getSetting(setting);
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
