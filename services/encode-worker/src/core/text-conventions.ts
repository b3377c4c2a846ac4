import type { Pooling } from './pooling.ts';

interface TextConvention {
  pooling: Pooling;
  queryPrefix: string;
  passagePrefix: string;
}

const BGE_EN = 'Represent this sentence for searching relevant passages: ';
const BGE_ZH = '为这个句子生成表示以用于检索相关文章：';

/**
 * What published text encoders expect although their files do not say so: many ONNX conversions leave `1_Pooling` out, and
 * E5's prefixes stand only in its model card. By the model's name; a pack's own files always win. Sources: the model cards of
 * intfloat/e5-*, BAAI/bge-* and sentence-transformers/*-MiniLM-*.
 */
const CONVENTIONS: [name: RegExp, convention: TextConvention][] = [
  [
    /(^|[^a-z0-9])(multilingual-)?e5-(small|base|large)/i,
    { pooling: 'mean', queryPrefix: 'query: ', passagePrefix: 'passage: ' },
  ],
  [/(^|[^a-z0-9])bge-(small|base|large)-en/i, { pooling: 'cls', queryPrefix: BGE_EN, passagePrefix: '' }],
  [/(^|[^a-z0-9])bge-(small|base|large)-zh/i, { pooling: 'cls', queryPrefix: BGE_ZH, passagePrefix: '' }],
  [/(^|[^a-z0-9])bge-m3/i, { pooling: 'cls', queryPrefix: '', passagePrefix: '' }],
  [/minilm-l|paraphrase-|all-mpnet/i, { pooling: 'mean', queryPrefix: '', passagePrefix: '' }],
];

export function textConvention(names: string[]): TextConvention | null {
  return CONVENTIONS.find(([pattern]) => names.some((name) => pattern.test(name)))?.[1] ?? null;
}
