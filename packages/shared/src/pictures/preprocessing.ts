import { z } from 'zod';
import { SightlineError } from '../runtime/errors.ts';

export interface Size {
  widthPx: number;
  heightPx: number;
}

export type Kernel = 'nearest' | 'lanczos3' | 'linear' | 'cubic';
export type Colour = [red: number, green: number, blue: number];

/** How a picture becomes the network's input, as the pack's preprocessor says. Everything that changes a pixel is in here. */
export interface PreprocessingPlan {
  /** Pads to a square before resizing (LLaVA's processor), centred, in this colour. */
  square: Colour | null;
  /** `shortest`: the short side becomes `edge`; `fit`: the whole picture fits into `size`; `exact`: squashed to `size`. */
  resize: { rule: 'shortest'; edge: number } | { rule: 'fit' | 'exact'; size: Size } | null;
  kernel: Kernel;
  crop: Size | null;
  pad: { size: Size; position: 'top_left' | 'center'; colour: Colour } | null;
  /**
   * A JPEG or WebP file is decoded at a fraction of its size as long as what is left is so many times what it is resized to. Null:
   * every pixel is decoded.
   */
  shrinkOnLoad: ShrinkOnLoad | null;
  rescaleFactor: number;
  mean: Colour;
  std: Colour;
  /** The network's input. */
  input: Size;
}

/** How many times the resized picture must be left: 2 shrinks JPEG only, 1 shrinks further and WebP as well. */
export const shrinkOnLoad = z.union([z.literal(1), z.literal(2)]);
export type ShrinkOnLoad = z.infer<typeof shrinkOnLoad>;

/** A letterbox that the Hugging Face format cannot express: where the picture lies in `pad_size` and the colour around it. */
export const padOverride = z.strictObject({
  position: z.enum(['top_left', 'center']).default('center'),
  colour: z.tuple([z.int().min(0).max(255), z.int().min(0).max(255), z.int().min(0).max(255)]),
});
export type PadOverride = z.infer<typeof padOverride>;

const pixels = z.int().min(1).max(2048);
const sizeValue = z.union([
  pixels,
  z.strictObject({ height: pixels, width: pixels }),
  z.strictObject({ shortest_edge: pixels }),
  z.strictObject({ longest_edge: pixels }),
]);
const channel = z.union([z.number(), z.tuple([z.number(), z.number(), z.number()])]);
const flag = z.boolean().nullish();

const preprocessorConfig = z.looseObject({
  image_processor_type: z.string().nullish(),
  feature_extractor_type: z.string().nullish(),
  do_resize: flag,
  size: sizeValue.nullish(),
  resample: z.int().nullish(),
  do_center_crop: flag,
  crop_size: sizeValue.nullish(),
  do_pad: flag,
  pad_size: sizeValue.nullish(),
  do_rescale: flag,
  rescale_factor: z.number().positive().nullish(),
  do_normalize: flag,
  image_mean: channel.nullish(),
  image_std: channel.nullish(),
  do_convert_rgb: flag,
  default_to_square: flag,
});

/** Keys that name or describe the processor and change no pixel. */
const SILENT_KEYS = new Set([
  'processor_class',
  'auto_map',
  '_valid_processor_keys',
  '_processor_class',
  'data_format',
  'input_data_format',
  'return_tensors',
  'device',
  'disable_grouping',
  'image_seq_length',
  'num_channels',
]);

interface Family {
  defaultToSquare: boolean;
  resample: number;
  size: z.infer<typeof sizeValue>;
  crop: number | null;
  mean: Colour;
  std: Colour;
}

const CLIP_MEAN: Colour = [0.48145466, 0.4578275, 0.40821073];
const CLIP_STD: Colour = [0.26862954, 0.26130258, 0.27577711];
const HALF: Colour = [0.5, 0.5, 0.5];
const CLIP: Family = {
  defaultToSquare: false,
  resample: 3,
  size: { shortest_edge: 224 },
  crop: 224,
  mean: CLIP_MEAN,
  std: CLIP_STD,
};
/** What each processor class assumes where its file is silent (transformers 5.23, `image_processing_pil_*.py`). */
const FAMILIES: Record<string, Family> = {
  CLIP,
  ChineseCLIP: CLIP,
  Bit: CLIP,
  Llava: CLIP,
  Siglip: { ...CLIP, size: { height: 224, width: 224 }, crop: null, mean: HALF, std: HALF },
  ViT: { defaultToSquare: true, resample: 2, size: { height: 224, width: 224 }, crop: null, mean: HALF, std: HALF },
};

const KERNELS: Record<number, Kernel> = { 0: 'nearest', 1: 'lanczos3', 2: 'linear', 3: 'cubic' };

/**
 * A `preprocessor_config.json` as a plan. A setting that is not known here and is switched on is an error, never ignored.
 * Errors: `pack_invalid`.
 */
export function parsePreprocessing(json: unknown, pad?: PadOverride, shrink: ShrinkOnLoad | null = null): PreprocessingPlan {
  const parsed = preprocessorConfig.safeParse(json);
  if (!parsed.success) throw invalid(z.prettifyError(parsed.error));
  const config = parsed.data;
  for (const [key, value] of Object.entries(config)) {
    if (!(key in preprocessorConfig.shape) && !SILENT_KEYS.has(key) && value !== null && value !== false)
      throw invalid(`the setting ${key} is not known`);
  }
  const name = config.image_processor_type ?? config.feature_extractor_type ?? 'CLIPImageProcessor';
  const familyName = name.replace(/(ImageProcessor(Fast|Pil)?|FeatureExtractor)$/, '');
  const family = FAMILIES[familyName];
  if (!family) throw invalid(`the processor ${name} is not known`);

  const mean = triple(config.image_mean ?? family.mean);
  const std = triple(config.image_std ?? family.std);
  if (std.some((s) => s === 0)) throw invalid('image_std has a zero');
  const resample = config.resample ?? family.resample;
  const kernel = KERNELS[resample];
  if (!kernel) throw invalid(`resample ${resample} is not supported (0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic are)`);
  const normalises = config.do_normalize ?? true;
  const squares = familyName === 'Llava' && config.do_pad === true;
  const crops = config.do_center_crop ?? family.crop !== null;
  const plan: Omit<PreprocessingPlan, 'input'> = {
    square: squares ? (mean.map((m) => Math.trunc(m * 255)) as Colour) : null,
    resize:
      (config.do_resize ?? true)
        ? resizeRule(config.size ?? family.size, config.default_to_square ?? family.defaultToSquare)
        : null,
    kernel,
    crop: crops ? boxOf(config.crop_size ?? family.crop ?? raise('crop_size is missing'), 'crop_size') : null,
    pad: config.do_pad === true && !squares ? padRule(config.pad_size, pad, mean) : null,
    shrinkOnLoad: shrink,
    rescaleFactor: (config.do_rescale ?? true) ? (config.rescale_factor ?? 1 / 255) : 1,
    mean: normalises ? mean : [0, 0, 0],
    std: normalises ? std : [1, 1, 1],
  };
  return { ...plan, input: inputSize(plan) };
}

function resizeRule(size: z.infer<typeof sizeValue>, defaultToSquare: boolean): PreprocessingPlan['resize'] {
  if (typeof size === 'number')
    return defaultToSquare ? { rule: 'exact', size: { widthPx: size, heightPx: size } } : { rule: 'shortest', edge: size };
  if ('shortest_edge' in size) return { rule: 'shortest', edge: size.shortest_edge };
  if ('longest_edge' in size) return { rule: 'fit', size: { widthPx: size.longest_edge, heightPx: size.longest_edge } };
  return { rule: 'exact', size: { widthPx: size.width, heightPx: size.height } };
}

function padRule(
  size: z.infer<typeof sizeValue> | null | undefined,
  override: PadOverride | undefined,
  mean: Colour,
): PreprocessingPlan['pad'] {
  if (!size) throw invalid('do_pad needs pad_size');
  // transformers pads after normalising, with zeros, at the right and the bottom: zero is the mean's grey level.
  const colour = override?.colour ?? (mean.map((m) => Math.min(255, Math.max(0, Math.round(m * 255)))) as Colour);
  return { size: boxOf(size, 'pad_size'), position: override?.position ?? 'top_left', colour };
}

function boxOf(size: z.infer<typeof sizeValue>, name: string): Size {
  if (typeof size === 'number') return { widthPx: size, heightPx: size };
  if ('height' in size) return { widthPx: size.width, heightPx: size.height };
  throw invalid(`${name} needs height and width`);
}

/** The one size that every picture comes out at; a plan without one cannot feed a network. */
function inputSize(plan: Omit<PreprocessingPlan, 'input'>): Size {
  if (plan.pad) return plan.pad.size;
  if (plan.crop) return plan.crop;
  if (plan.resize?.rule === 'exact') return plan.resize.size;
  if (plan.square && plan.resize)
    return plan.resize.rule === 'shortest' ? { widthPx: plan.resize.edge, heightPx: plan.resize.edge } : plan.resize.size;
  throw invalid('pictures would come out at different sizes: it needs a crop, a pad_size, or a size with height and width');
}

const triple = (value: number | Colour): Colour => (typeof value === 'number' ? [value, value, value] : value);
const invalid = (detail: string) => new SightlineError('pack_invalid', `preprocessor_config.json: ${detail}.`);
const raise = (detail: string): never => {
  throw invalid(detail);
};
