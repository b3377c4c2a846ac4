import { createHash } from 'node:crypto';
import path from 'node:path';
import { z } from 'zod';
import { packManifest, type EncoderPack, type Graph, type PackManifest, type TextTower } from '../core/encoder-pack.ts';
import type { Pooling } from '../core/pooling.ts';
import { parsePreprocessing } from '@sightline/shared/pictures/preprocessing';
import { textConvention } from '../core/text-conventions.ts';
import { findPack } from '@sightline/shared/adapters/find-pack';
import { PackFiles } from '@sightline/shared/adapters/pack-files';

/** Variants in the order they are chosen when none is asked for, with the hub's file name endings. */
export const VARIANTS = {
  fp32: '',
  fp16: '_fp16',
  quantized: '_quantized',
  int8: '_int8',
  uint8: '_uint8',
  q4f16: '_q4f16',
  q4: '_q4',
  bnb4: '_bnb4',
} as const;
export type Variant = keyof typeof VARIANTS;
export const variantNames = Object.keys(VARIANTS) as [Variant, ...Variant[]];

const MAX_TOKENIZER_BYTES = 64 * 1024 * 1024;
const DEFAULT_LOGIT_SCALE = 100;

const config = z.looseObject({
  model_type: z.string().optional(),
  _name_or_path: z.string().optional(),
  max_position_embeddings: z.int().positive().optional(),
  pad_token_id: z.int().nonnegative().nullish(),
  text_config: z
    .looseObject({ max_position_embeddings: z.int().positive().optional(), model_type: z.string().optional() })
    .optional(),
});
type Config = z.infer<typeof config>;

/**
 * Reads and checks a pack; loads nothing. `places` is where a `text_encoder` named in its sightline.json is looked for,
 * after the pack's own neighbours. Errors: `pack_not_found`, `pack_invalid`.
 */
export async function readEncoderPack(
  directory: string,
  options: { variant?: Variant | undefined; places?: string[] } = {},
): Promise<EncoderPack> {
  const files = await PackFiles.open(directory);
  const manifest = await readManifest(files);
  const packConfig = await readConfig(files);
  const variant = await chooseVariant(files, ['vision_model', 'text_model'], options.variant);
  const vision = await readGraph(files, 'vision', variant, 'vision_model');
  const imageText = await readTower(files, packConfig, manifest, await readGraph(files, 'imageText', variant, 'text_model'));
  const plan = parsePreprocessing(await readPreprocessor(files), manifest.pad, manifest.shrink_on_load ?? null);
  const multiScale = manifest.multi_scale ?? null;

  const textPack = manifest.text_encoder
    ? await findTextPack(files.directory, manifest.text_encoder, options.places ?? [])
    : null;
  const text = textPack ? await readTextPack(textPack, options.variant) : imageText;
  return {
    name: path.basename(files.directory),
    directory: files.directory,
    variant,
    vision,
    plan,
    multiScale,
    imageText,
    text,
    textPackDirectory: textPack,
    promptTemplates: manifest.prompt_templates ?? ['{}'],
    languages: manifest.languages ?? null,
    logitScale: manifest.logit_scale ?? DEFAULT_LOGIT_SCALE,
    declaredDimension: manifest.dimension ?? null,
    fingerprints: {
      // The words' tower belongs to the visual space: a mispaired one would answer every search with noise.
      image: fingerprint({ vision: vision.sha256, variant, plan, multiScale, words: towerIdentity(imageText) }),
      text: fingerprint({ variant: text.graph.variant, ...towerIdentity(text) }),
    },
  };
}

/** A text encoder's pack alone. Errors: `pack_not_found`, `pack_invalid`. */
export async function readTextPack(directory: string, wanted: Variant | undefined): Promise<TextTower> {
  const files = await PackFiles.open(directory);
  const manifest = await readManifest(files);
  const available = await availableVariants(files, ['model']);
  const variant = wanted && available.includes(wanted) ? wanted : await chooseVariant(files, ['model'], undefined);
  const graph = await readGraph(files, 'text', variant, 'model');
  return readTower(files, await readConfig(files), manifest, graph);
}

function towerIdentity(tower: TextTower) {
  const { graph, maxTokens, padding, pooling, queryPrefix, passagePrefix, tokenizerSha256 } = tower;
  return { graph: graph.sha256, tokenizer: tokenizerSha256, maxTokens, padding, pooling, queryPrefix, passagePrefix };
}

/** SHA-256 over JSON with sorted keys. The number in front changes when this code would make other vectors of the same files. */
function fingerprint(identity: object): string {
  const sorted = (_: string, value: unknown) =>
    value && typeof value === 'object' && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  return createHash('sha256')
    .update(`1\n${JSON.stringify(identity, sorted)}`)
    .digest('hex');
}

async function availableVariants(files: PackFiles, stems: string[]): Promise<Variant[]> {
  const found: Variant[] = [];
  for (const variant of variantNames) {
    const graphs = await Promise.all(stems.map((stem) => files.find(`onnx/${stem}${VARIANTS[variant]}.onnx`, Infinity)));
    if (graphs.every(Boolean) || (stems.length > 1 && (await files.find(`onnx/model${VARIANTS[variant]}.onnx`, Infinity))))
      found.push(variant);
  }
  return found;
}

async function chooseVariant(files: PackFiles, stems: string[], wanted: Variant | undefined): Promise<Variant> {
  const available = await availableVariants(files, stems);
  const chosen = wanted ? available.find((variant) => variant === wanted) : available[0];
  if (!chosen)
    throw files.invalid(
      `no graphs of variant ${wanted ?? 'fp32'} in onnx/ (${stems.join(', ')}); there are ${available.join(', ') || 'none'}`,
    );
  return chosen;
}

/** A dual encoder's towers lie in files of their own, or together in `model.onnx`. */
async function readGraph(files: PackFiles, key: Graph['key'], variant: Variant, stem: string): Promise<Graph> {
  const graph =
    (await files.hashGraph(`onnx/${stem}${VARIANTS[variant]}.onnx`)) ??
    (await files.hashGraph(`onnx/model${VARIANTS[variant]}.onnx`));
  if (!graph) throw files.invalid(`onnx/${stem}${VARIANTS[variant]}.onnx is missing`);
  return { key, variant, ...graph };
}

async function readManifest(files: PackFiles): Promise<PackManifest> {
  const parsed = packManifest.safeParse((await files.readJson('sightline.json')) ?? {});
  if (!parsed.success) throw files.invalid(`sightline.json: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

async function readConfig(files: PackFiles): Promise<Config> {
  const parsed = config.safeParse(await files.readJson('config.json'));
  if (!parsed.success) throw files.invalid(`config.json: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

async function readPreprocessor(files: PackFiles): Promise<unknown> {
  const own = await files.readJson('preprocessor_config.json');
  if (own) return own;
  const processor = z
    .looseObject({ image_processor: z.looseObject({}) })
    .safeParse(await files.readJson('processor_config.json'));
  if (!processor.success) throw files.invalid('preprocessor_config.json is missing');
  return processor.data.image_processor;
}

async function findTextPack(directory: string, name: string, places: string[]): Promise<string> {
  const neighbours = path.dirname(directory);
  return findPack(name.replace(/^\.\.\//, ''), name.startsWith('../') ? [neighbours] : [neighbours, ...places]);
}

async function readTower(files: PackFiles, packConfig: Config, manifest: PackManifest, graph: Graph): Promise<TextTower> {
  const tokenizerBytes = await files.readBytes('tokenizer.json', MAX_TOKENIZER_BYTES);
  if (!tokenizerBytes) throw files.invalid('tokenizer.json is missing');
  const tokenizerJson = tokenizerFile.safeParse(await files.readJson('tokenizer.json', MAX_TOKENIZER_BYTES));
  if (!tokenizerJson.success) throw files.invalid(`tokenizer.json: ${z.prettifyError(tokenizerJson.error)}`);
  const tokenizerConfig = z
    .looseObject({ model_max_length: z.number().optional() })
    .safeParse((await files.readJson('tokenizer_config.json')) ?? {});
  if (!tokenizerConfig.success) throw files.invalid(`tokenizer_config.json: ${z.prettifyError(tokenizerConfig.error)}`);

  const sentence = graph.key === 'text' ? await readSentenceTransformer(files, packConfig, manifest) : null;
  const limits = [manifest.text_max_tokens, sentence?.maxTokens, tokenizerConfig.data.model_max_length, positions(packConfig)];
  const maxTokens = manifest.text_max_tokens ?? Math.min(...limits.filter((limit) => limit !== undefined));
  if (!Number.isFinite(maxTokens) || maxTokens < 3 || maxTokens > 32_768)
    throw files.invalid('it does not say how many tokens its text encoder takes');
  return {
    graph,
    maxTokens,
    padding: manifest.padding ?? defaultPadding(packConfig.model_type ?? ''),
    pooling: sentence?.pooling ?? null,
    queryPrefix: sentence?.queryPrefix ?? '',
    passagePrefix: sentence?.passagePrefix ?? '',
    tokenizerJson: tokenizerJson.data,
    tokenizerConfig: tokenizerConfig.data,
    tokenizerSha256: createHash('sha256').update(tokenizerBytes).update(JSON.stringify(tokenizerConfig.data)).digest('hex'),
    padId: padId(tokenizerJson.data, tokenizerConfig.data, packConfig),
  };
}

/** SigLIP was trained on full-length padding without a mask; CLIP is causal, so that what follows the end token is not seen. */
function defaultPadding(modelType: string): TextTower['padding'] {
  if (modelType.startsWith('siglip')) return 'max';
  return modelType === 'clip' ? 'longest' : 'auto';
}

const tokenizerFile = z.looseObject({
  model: z.looseObject({ vocab: z.unknown() }),
  added_tokens: z.array(z.looseObject({ id: z.int().nonnegative(), content: z.string() })).default([]),
  padding: z.looseObject({ pad_id: z.int().nonnegative() }).nullish(),
});

function padId(tokenizer: z.infer<typeof tokenizerFile>, tokenizerConfig: Record<string, unknown>, packConfig: Config): number {
  const named = z.union([z.string(), z.looseObject({ content: z.string() })]).safeParse(tokenizerConfig['pad_token']);
  const name = named.success ? (typeof named.data === 'string' ? named.data : named.data.content) : null;
  const added = tokenizer.added_tokens.find((token) => token.content === name);
  if (added) return added.id;
  const vocabulary = z.record(z.string(), z.int()).safeParse(tokenizer.model.vocab);
  if (name && vocabulary.success && name in vocabulary.data) return vocabulary.data[name]!;
  return tokenizer.padding?.pad_id ?? packConfig.pad_token_id ?? 0;
}

/** How many tokens the position table has room for. RoBERTa's kin count positions from the padding id + 1. */
function positions(packConfig: Config): number | undefined {
  const table = packConfig.text_config?.max_position_embeddings ?? packConfig.max_position_embeddings;
  const modelType = packConfig.text_config?.model_type ?? packConfig.model_type ?? '';
  if (table !== undefined && /roberta|camembert|mpnet/.test(modelType)) return table - (packConfig.pad_token_id ?? 1) - 1;
  return table;
}

const poolingConfig = z.looseObject({
  pooling_mode: z.enum(['cls', 'mean', 'lasttoken']).optional(),
  pooling_mode_cls_token: z.boolean().default(false),
  pooling_mode_mean_tokens: z.boolean().default(false),
  pooling_mode_lasttoken: z.boolean().default(false),
  include_prompt: z.literal(true).default(true),
});
const sentenceConfig = z.looseObject({
  max_seq_length: z.int().positive().nullish(),
  do_lower_case: z.literal(false).default(false),
});
const promptsConfig = z.looseObject({
  prompts: z
    .looseObject({ query: z.string().optional(), passage: z.string().optional(), document: z.string().optional() })
    .default({}),
});
const modules = z.array(z.looseObject({ type: z.string() }));

/** sentence-transformers' files: `modules.json`, `1_Pooling`, `sentence_bert_config.json`, `config_sentence_transformers.json`. */
async function readSentenceTransformer(files: PackFiles, packConfig: Config, manifest: PackManifest) {
  const read = async <T extends z.ZodType>(name: string, schema: T): Promise<z.infer<T> | null> => {
    const json = await files.readJson(name);
    const parsed = json === null ? null : schema.safeParse(json);
    if (parsed && !parsed.success) throw files.invalid(`${name}: ${z.prettifyError(parsed.error)}`);
    return parsed?.data ?? null;
  };
  const steps = (await read('modules.json', modules)) ?? [];
  const unknown = steps.find((step) => !/\.(Transformer|Pooling|Normalize)$/.test(step.type));
  if (unknown) throw files.invalid(`modules.json: a step of type ${unknown.type} is not known`);
  const convention = textConvention([path.basename(files.directory), packConfig._name_or_path ?? '']);
  const prompts = (await read('config_sentence_transformers.json', promptsConfig))?.prompts;
  const pooled = await read('1_Pooling/config.json', poolingConfig);
  const pooling = manifest.pooling ?? (pooled ? poolingOf(files, pooled) : convention?.pooling) ?? null;
  return {
    // Null is right only for a graph that gives `sentence_embedding` itself; the encoder refuses it otherwise.
    pooling,
    maxTokens: (await read('sentence_bert_config.json', sentenceConfig))?.max_seq_length ?? undefined,
    queryPrefix: manifest.query_prefix ?? prompts?.query ?? convention?.queryPrefix ?? '',
    passagePrefix: manifest.passage_prefix ?? prompts?.passage ?? prompts?.document ?? convention?.passagePrefix ?? '',
  };
}

function poolingOf(files: PackFiles, pooled: z.infer<typeof poolingConfig>): Pooling {
  const modes: Pooling[] = [];
  if (pooled.pooling_mode_cls_token || pooled.pooling_mode === 'cls') modes.push('cls');
  if (pooled.pooling_mode_mean_tokens || pooled.pooling_mode === 'mean') modes.push('mean');
  if (pooled.pooling_mode_lasttoken || pooled.pooling_mode === 'lasttoken') modes.push('last');
  const others = Object.entries(pooled).filter(([key, value]) => key.startsWith('pooling_mode_') && value === true);
  if (modes.length !== 1 || others.length > 1)
    throw files.invalid('1_Pooling: exactly one of cls, mean and last token is supported');
  return modes[0]!;
}
