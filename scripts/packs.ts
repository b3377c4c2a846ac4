import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import pino from 'pino';
import { z } from 'zod';
import { openOnnxEncoder } from '@sightline/encode-worker/adapters/onnx-encoder';
import { findPack } from '@sightline/shared/adapters/find-pack';
import { variantNames, VARIANTS, type Variant } from '@sightline/encode-worker/adapters/pack-reader';
import { proveTextPack } from '@sightline/encode-worker/adapters/prove-text-pack';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { pullPack } from './pull-pack.ts';

const USAGE = `usage: npm run packs -- pull ORG/NAME [--revision REV] [--variant ${variantNames.join('|')}]... [--into FOLDER]
       npm run packs -- list
       npm run packs -- verify NAME|PATH [--variant V]
Packs lie in models/ and in DATA_DIR/packs. HF_ENDPOINT (https://huggingface.co) and HF_TOKEN say where and as whom to pull.`;

/** Loads the pack in each of its given variants, proves it, and records golden vectors where it has none. */
export async function verifyPack(directory: string, places: string[], variants: (Variant | undefined)[]): Promise<string[]> {
  const isDual = await stat(path.join(directory, 'preprocessor_config.json')).catch(() =>
    stat(path.join(directory, 'processor_config.json')).catch(() => null),
  );
  const lines: string[] = [];
  for (const variant of variants) {
    const options = {
      packDir: directory,
      packPlaces: places,
      variant,
      threads: 2,
      logger: pino({ level: 'warn' }, process.stderr),
    };
    if (!isDual) {
      const { variant: used, report } = await proveTextPack(options);
      lines.push(
        `${path.basename(directory)} ${used}: text encoder, ${report.origin}, least cosine ${report.leastCosine.toFixed(6)}`,
      );
      continue;
    }
    const encoder = await openOnnxEncoder(options);
    const { image, text } = encoder.spec;
    lines.push(
      `${encoder.packName} ${encoder.pack.variant}: ${encoder.proof.origin}, least cosine ${encoder.proof.leastCosine.toFixed(6)}`,
      `  image ${image.dimensions} dimensions, fingerprint ${image.fingerprint}`,
      `  text  ${text.dimensions} dimensions, fingerprint ${text.fingerprint}${encoder.pack.textPackDirectory ? ` (${path.basename(encoder.pack.textPackDirectory)})` : " (the pack's own text tower)"}`,
    );
    await encoder.close();
  }
  return lines;
}

async function listPacks(places: string[]): Promise<string[]> {
  const lines: string[] = [];
  for (const place of places) {
    for (const name of (await readdir(place).catch(() => [])).toSorted((a, b) => a.localeCompare(b))) {
      const directory = path.join(place, name);
      const graphs = await readdir(path.join(directory, 'onnx')).catch(() => null);
      if (!graphs || name.startsWith('.')) continue;
      const variants = variantNames.filter((variant) =>
        graphs.some((graph) => /^(vision_)?model/.test(graph) && graph.endsWith(`model${VARIANTS[variant]}.onnx`)),
      );
      const golden = z
        .object({ origin: z.string() })
        .safeParse(JSON.parse(await readFile(path.join(directory, 'golden.json'), 'utf8').catch(() => 'null')));
      lines.push(
        `${name.replace('--', '/').padEnd(44)} ${variants.join(', ').padEnd(28)} golden: ${golden.success ? golden.data.origin : 'none'}  ${directory}`,
      );
    }
  }
  return lines.length > 0 ? lines : ['no packs'];
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      revision: { type: 'string', default: 'main' },
      variant: { type: 'string', multiple: true },
      into: { type: 'string' },
    },
  });
  const root = path.resolve(import.meta.dirname, '..');
  const places = [path.join(root, 'models'), path.resolve(process.env['DATA_DIR'] ?? path.join(root, '.sightline'), 'packs')];
  const variants = z.array(z.enum(variantNames)).parse(values.variant ?? []);
  const [command, subject] = positionals;
  if (command === 'list') {
    for (const line of await listPacks(places)) console.log(line);
  } else if (command === 'verify' && subject) {
    for (const line of await verifyPack(await findPack(subject, places), places, variants.length > 0 ? variants : [undefined]))
      console.log(line);
  } else if (command === 'pull' && subject) {
    const into = path.resolve(values.into ?? places[1]!);
    await mkdir(into, { recursive: true });
    const wanted: Variant[] = [...new Set<Variant>(['fp32', ...variants])];
    const directory = await pullPack({
      repo: subject,
      revision: values.revision,
      variants: wanted,
      endpoint: process.env['HF_ENDPOINT'] ?? 'https://huggingface.co',
      token: process.env['HF_TOKEN'],
      into,
      report: console.log,
    });
    for (const line of await verifyPack(directory, places, wanted)) console.log(line);
    console.log(`ENCODER_PACK=${subject}`);
  } else {
    console.error(USAGE);
    process.exitCode = 2;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main().catch((error: unknown) => {
    console.error(error instanceof SightlineError ? `${error.code}: ${error.message}` : error);
    process.exitCode = 1;
  });
}
