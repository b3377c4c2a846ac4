import { z } from 'zod';
import type { BoxFrame } from './generator.ts';

const texts = z.strictObject({
  box_frame: z.record(z.enum(['square_pixels', 'picture_pixels', 'unit', 'thousand'] satisfies BoxFrame[]), z.string()),
  steps_rule: z.string(),
  language_rule: z.string(),
  language_of_question: z.string(),
  format_rule: z.string(),
  source_heading: z.string(),
  source_picture: z.string(),
  question_picture: z.string(),
  picture_size: z.string(),
  no_sources: z.string(),
  picture_alone: z.string(),
  question_heading: z.string(),
});

/** The files of a version of the prompt, `prompts/<version>/`: what is said, in which words. How it is put together is code. */
export interface PromptTemplate {
  /** Names the wording, that of the check of claims included; it stands in every answer that was made with it. */
  version: string;
  system: string;
  texts: z.infer<typeof texts>;
  /** By language: what is answered where nothing relevant was retrieved. `en` is there. */
  notFound: Record<string, string>;
}

/** Throws ZodError or SyntaxError on files that are not those of a version. */
export function parsePromptTemplate(version: string, files: { system: string; texts: string; notFound: string }): PromptTemplate {
  return {
    version,
    system: files.system,
    texts: texts.parse(JSON.parse(files.texts)),
    notFound: z
      .record(z.string(), z.string())
      .and(z.object({ en: z.string() }))
      .parse(JSON.parse(files.notFound)),
  };
}

/** `{{name}}` is replaced; a name without a value is an error of the template. Values are put in once and never read again. */
export function fill(template: string, values: Record<string, string | number>): string {
  return template.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`The template asks for ${name}.`);
    return String(value);
  });
}
