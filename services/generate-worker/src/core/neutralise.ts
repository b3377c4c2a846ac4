/**
 * A stranger's text as it may stand in a prompt. By construction nothing in it can close a fence, be a model's control token
 * (`<|im_end|>`, `</s>`, `<image>`, `[INST]`), or look like a citation or a box of ours:
 * a `<` never touches what follows it, and a `[` before a digit, a letter, `/`, `^` or another bracket becomes `(`, with its closing bracket. Control and
 * format characters, in which tokens can hide, are dropped. Linear in the text's length.
 */
export function neutralise(text: string): string {
  return text
    .normalize('NFC')
    .replaceAll(/[\p{Cf}\p{Co}\p{Cs}]|[^\P{Cc}\n\t]/gu, '')
    .replaceAll(/[<＜‹﹤](?=\S)/gu, '< ')
    .replaceAll(/[[【［〔]/gu, '(')
    .replaceAll(/[\]】］〕]/gu, ')')
    .replaceAll(/\|>/g, '| >');
}

/** As `neutralise`, on one line: for titles and headings. */
export function neutraliseLine(text: string): string {
  return neutralise(text).replaceAll(/\s+/g, ' ').trim();
}
