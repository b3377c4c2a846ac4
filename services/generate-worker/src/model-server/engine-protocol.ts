import type { Asked, Ended, SaidToken } from './llava.ts';
import type { ModelPack } from './model-pack.ts';

/** What the computing thread is started with. */
export interface EngineOrder {
  pack: ModelPack;
  threads: number;
}

/** One request at a time. `isCancelled` holds one number in shared memory, because a thread that computes reads no messages. */
export interface ToEngine {
  id: number;
  asked: Asked;
  isCancelled: Int32Array<SharedArrayBuffer>;
}

export type FromEngine =
  | { type: 'loaded'; tokensPerImage: number }
  | { type: 'load_failed'; code: string; detail: string }
  | { type: 'token'; id: number; token: SaidToken }
  | { type: 'ended'; id: number; ended: Ended }
  /** `status` is null where it is not the asker's fault. */
  | { type: 'failed'; id: number; code: string; message: string; status: number | null };
