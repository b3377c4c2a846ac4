import path from 'node:path';
import { readdir } from 'node:fs/promises';
import { z } from 'zod';
import { PackFiles } from '@sightline/shared/adapters/pack-files';
import { parsePreprocessing, type PreprocessingPlan } from '@sightline/shared/pictures/preprocessing';
import type { BoxFrame } from '../core/generator.ts';

export type GraphName = 'embed_tokens' | 'vision_encoder' | 'decoder_model_merged';
export const GRAPH_NAMES: readonly GraphName[] = ['embed_tokens', 'vision_encoder', 'decoder_model_merged'];

/** A pack as it was read from its directory: plain data, which goes to the computing thread as it is. */
export interface ModelPack {
  /** As answers and the list of models tell it. */
  name: string;
  directory: string;
  /** Files of ONNX graphs. */
  graphs: Record<GraphName, string>;
  /** Each with the graphs that it has of its own. */
  adapters: { name: string; graphs: Partial<Record<GraphName, string>> }[];
  plan: PreprocessingPlan;
  boxFrame: BoxFrame;
  /** Pictures a prompt may hold. */
  maxImages: number;
  /** Of the pack's own word; null leaves it to what the graph gives. */
  tokensPerImage: number | null;
  /** Prompt and answer together. */
  contextTokens: number;
  /** Whether the claim check may ask it yes or no. */
  answersYesNo: boolean;
  /** ISO 639-1 codes; null where the pack does not say. */
  languages: string[] | null;
  tokenizerJson: object;
  tokenizerConfig: { bosToken: string | null; eosToken: string | null; whole: object };
  chatTemplate: string;
  /** What stands for a picture in the prompt; null: the tokenizer's `<image>`. */
  imageTokenId: number | null;
  /** Any of them ends an answer; empty: the tokenizer's own. */
  eosIds: number[];
}

const MOST_TOKENIZER_BYTES = 64 * 1024 ** 2;
const MOST_ADAPTERS = 64;
const BOX_FRAMES = ['square_pixels', 'picture_pixels', 'unit', 'thousand'] as const;
/** Endings of published files whose inputs and outputs are fp32, in the order in which they are taken. */
const VARIANTS = ['', '_quantized', '_int8', '_uint8', '_q4', '_bnb4'];
const DEFAULTS = { boxFrame: 'thousand', maxImages: 4, contextTokens: 4_096 } as const;

const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/);
const token = z.union([z.string(), z.looseObject({ content: z.string() }).transform(({ content }) => content)]).nullish();
const ids = z.union([z.int().nonnegative(), z.array(z.int().nonnegative()).max(64)]).nullish();

/** `sightline.json`: what a pack says of itself beside the Hugging Face files. Every field is optional. */
const manifest = z.strictObject({
  name: name.optional(),
  box_frame: z.enum(BOX_FRAMES).optional(),
  max_images: z.int().min(1).max(64).optional(),
  image_side_px: z.int().min(16).max(2_048).optional(),
  tokens_per_image: z.int().min(1).max(65_536).optional(),
  context_tokens: z.int().min(256).max(4_194_304).optional(),
  answers_yes_no: z.boolean().optional(),
  languages: z
    .array(z.string().regex(/^[a-z]{2}$/))
    .max(200)
    .optional(),
});
const config = z.looseObject({
  image_token_index: z.int().nonnegative().nullish(),
  image_token_id: z.int().nonnegative().nullish(),
  image_seq_length: z.int().positive().nullish(),
  eos_token_id: ids,
  text_config: z.looseObject({ max_position_embeddings: z.int().positive().nullish(), eos_token_id: ids }).nullish(),
});
const generationConfig = z.looseObject({ eos_token_id: ids });
const tokenizerConfig = z.looseObject({
  chat_template: z.string().max(65_536).nullish(),
  bos_token: token,
  eos_token: token,
  model_max_length: z.number().nullish(),
});

/** Reads and checks the files of a pack; loads no graph. Errors: `pack_not_found`, `pack_invalid`. */
export async function readModelPack(directory: string): Promise<ModelPack> {
  const files = await PackFiles.open(directory);
  const about = await parsed(files, 'sightline.json', manifest, {});
  const model = await parsed(files, 'config.json', config);
  const text = model.text_config ?? {};
  const generation = await parsed(files, 'generation_config.json', generationConfig, {});
  const tokenizerJson = await needed(files, 'tokenizer.json', MOST_TOKENIZER_BYTES);
  const wholeTokenizer = await needed(files, 'tokenizer_config.json');
  const tokenizer = tokenizerConfig.safeParse(wholeTokenizer);
  if (!tokenizer.success) throw files.invalid(`tokenizer_config.json: ${z.prettifyError(tokenizer.error)}`);
  const chatTemplate = tokenizer.data.chat_template ?? (await files.readBytes('chat_template.jinja', 65_536))?.toString('utf8');
  if (!chatTemplate) throw files.invalid('it has no chat template, neither in tokenizer_config.json nor as chat_template.jinja');
  const plan = parsePreprocessing(await needed(files, 'preprocessor_config.json'));
  const { widthPx, heightPx } = plan.input;
  if (widthPx !== heightPx || (about.image_side_px !== undefined && about.image_side_px !== widthPx))
    throw files.invalid(
      `preprocessor_config.json makes ${widthPx} x ${heightPx}, which is not the square of ${about.image_side_px ?? 'a model'} pixels`,
    );
  const graphs = await graphsIn(files, 'onnx');
  for (const graph of GRAPH_NAMES) if (!graphs[graph]) throw files.invalid(`onnx/${graph}.onnx is missing`);
  const limit = tokenizer.data.model_max_length ?? null;
  const packName = about.name ?? path.basename(files.directory);
  return {
    name: packName,
    directory: files.directory,
    graphs: graphs as Record<GraphName, string>,
    adapters: await adaptersOf(files, packName),
    plan,
    boxFrame: about.box_frame ?? DEFAULTS.boxFrame,
    maxImages: about.max_images ?? DEFAULTS.maxImages,
    tokensPerImage: about.tokens_per_image ?? null,
    // Tokenizers without a bound say a number of thirty digits.
    contextTokens:
      about.context_tokens ??
      text.max_position_embeddings ??
      (limit !== null && limit >= 256 && limit <= 4_194_304 ? limit : DEFAULTS.contextTokens),
    answersYesNo: about.answers_yes_no ?? true,
    languages: about.languages ?? null,
    tokenizerJson,
    tokenizerConfig: {
      bosToken: tokenizer.data.bos_token ?? null,
      eosToken: tokenizer.data.eos_token ?? null,
      whole: wholeTokenizer,
    },
    chatTemplate,
    imageTokenId: model.image_token_index ?? model.image_token_id ?? null,
    eosIds: [generation.eos_token_id ?? model.eos_token_id ?? text.eos_token_id ?? []].flat(),
  };
}

/** Directories of `adapters/`, each with at least one graph of its own. */
async function adaptersOf(files: PackFiles, packName: string): Promise<ModelPack['adapters']> {
  const found = await readdir(path.join(files.directory, 'adapters'), { withFileTypes: true }).catch(() => []);
  const folders = found.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  if (folders.length > MOST_ADAPTERS) throw files.invalid(`it has ${folders.length} adapters, more than ${MOST_ADAPTERS}`);
  const adapters: ModelPack['adapters'] = [];
  for (const folder of folders.sort()) {
    const place = `adapters/${folder}`;
    const about = await parsed(files, `${place}/sightline.json`, manifest.pick({ name: true }), {});
    const adapter = { name: about.name ?? folder, graphs: await graphsIn(files, `${place}/onnx`) };
    if (Object.keys(adapter.graphs).length === 0) throw files.invalid(`${place} has no graph`);
    if (!name.safeParse(adapter.name).success || [packName, ...adapters.map((one) => one.name)].includes(adapter.name))
      throw files.invalid(`${place} is named "${adapter.name}", which is taken or no name`);
    adapters.push(adapter);
  }
  return adapters;
}

async function graphsIn(files: PackFiles, folder: string): Promise<Partial<Record<GraphName, string>>> {
  const graphs: Partial<Record<GraphName, string>> = {};
  for (const graph of GRAPH_NAMES) {
    for (const variant of VARIANTS) {
      // External data is looked for where the graph says that it lies, inside the pack.
      const file = await files.findGraph(`${folder}/${graph}${variant}.onnx`);
      if (!file) continue;
      graphs[graph] = file;
      break;
    }
  }
  return graphs;
}

async function needed(files: PackFiles, file: string, mostBytes?: number): Promise<object> {
  const json = await files.readJson(file, mostBytes);
  if (json === null) throw files.invalid(`${file} is missing`);
  return json as object;
}

async function parsed<T>(files: PackFiles, file: string, schema: z.ZodType<T>, absent?: unknown): Promise<T> {
  const json = await files.readJson(file);
  if (json === null && absent === undefined) throw files.invalid(`${file} is missing`);
  const result = schema.safeParse(json ?? absent);
  if (!result.success) throw files.invalid(`${file}: ${z.prettifyError(result.error)}`);
  return result.data;
}
