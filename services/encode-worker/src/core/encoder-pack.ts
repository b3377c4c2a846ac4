import { z } from 'zod';
import { multiScale, type MultiScale } from '@sightline/shared/pictures/picture-view';
import { padOverride, shrinkOnLoad, type PreprocessingPlan } from '@sightline/shared/pictures/preprocessing';
import type { Pooling } from './pooling.ts';

/** `sightline.json`: what a pack says of itself that the Hugging Face files do not. Every field is optional. */
export const packManifest = z.strictObject({
  /** The pack that makes the text space: a pack's name, or `../name` for one beside this one. Without it CLIP's text tower does. */
  text_encoder: z
    .string()
    .regex(/^(\.\.\/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, 'a pack name, or ../name')
    .optional(),
  /** Each with one `{}`; a query's vector in the visual space is the normalised mean over them. */
  prompt_templates: z
    .array(
      z
        .string()
        .max(256)
        .refine((t) => t.split('{}').length === 2, 'a template has one {}'),
    )
    .min(1)
    .max(16)
    .optional(),
  /** ISO 639-1 codes that the pack's words-to-picture side understands. */
  languages: z
    .array(z.string().regex(/^[a-z]{2}$/))
    .max(200)
    .optional(),
  logit_scale: z.number().positive().max(1000).optional(),
  multi_scale: multiScale.optional(),
  pad: padOverride.optional(),
  /** Large JPEG files are decoded at a fraction of their size: faster, and not to the last bit the same. */
  shrink_on_load: shrinkOnLoad.optional(),
  query_prefix: z.string().max(1024).optional(),
  passage_prefix: z.string().max(1024).optional(),
  pooling: z.enum(['cls', 'mean', 'last']).optional(),
  text_max_tokens: z.int().min(8).max(32_768).optional(),
  /** `max` when the network must always be fed its full length; `longest` when padding is masked or cannot be seen. */
  padding: z.enum(['max', 'longest']).optional(),
  /** Checked against what the graph gives. */
  dimension: z.int().positive().optional(),
  /** For people. */
  name: z.string().max(128).optional(),
  version: z.union([z.string().max(64), z.number()]).optional(),
  license: z.string().max(256).optional(),
  description: z.string().max(4096).optional(),
  trained: z.record(z.string(), z.json()).optional(),
});
export type PackManifest = z.infer<typeof packManifest>;

/** One graph file, with what it computes. `key` is how the encoder process knows it. */
export interface Graph {
  key: 'vision' | 'imageText' | 'text';
  file: string;
  /** SHA-256 of the graph and its external data. */
  sha256: string;
  variant: string;
}

/** A tower that takes text. */
export interface TextTower {
  graph: Graph;
  /** What a text is cut to, special tokens included. */
  maxTokens: number;
  /** `auto`: the longest of the batch where the graph takes a mask, else the full length. */
  padding: 'max' | 'longest' | 'auto';
  /** Null where the graph gives one vector a text itself. */
  pooling: Pooling | null;
  queryPrefix: string;
  passagePrefix: string;
  tokenizerJson: unknown;
  tokenizerConfig: Record<string, unknown>;
  tokenizerSha256: string;
  padId: number;
}

/** An encoder pack, read and checked but not loaded. */
export interface EncoderPack {
  name: string;
  directory: string;
  variant: string;
  vision: Graph;
  plan: PreprocessingPlan;
  multiScale: MultiScale | null;
  /** Words into the visual space. */
  imageText: TextTower;
  /** The text space: `imageText` itself, or another pack's tower. */
  text: TextTower;
  /** The directory of the pack that makes the text space, when it is another one. */
  textPackDirectory: string | null;
  promptTemplates: string[];
  languages: string[] | null;
  logitScale: number;
  /** What sightline.json says of the visual vectors' length, if it does. */
  declaredDimension: number | null;
  fingerprints: { image: string; text: string };
}
