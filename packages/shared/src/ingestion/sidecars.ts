/**
 * Files that commonly lie beside pictures and are none: not listed, not counted, not failures. Everything else that is not
 * hidden is taken for a picture, so that a picture with a wrong or missing extension is found or named in the failures.
 */
const SIDECAR_EXTENSIONS: ReadonlySet<string> = new Set(
  'txt md json jsonl ndjson csv tsv xml xmp html htm yaml yml log'.split(' '),
);

export function isSidecar(key: string): boolean {
  const name = key.slice(key.lastIndexOf('/') + 1);
  const dot = name.lastIndexOf('.');
  return dot > 0 && SIDECAR_EXTENSIONS.has(name.slice(dot + 1).toLowerCase());
}
