import type { GenerateRequest, ModelProfile, PromptPart } from './generator.ts';
import { estimateTokens } from './estimate-tokens.ts';
import type { PictureFrame } from './grounding/picture-frame.ts';
import { neutralise, neutraliseLine } from './neutralise.ts';
import { fill, type PromptTemplate } from './prompt-template.ts';
import type { ReadyPicture, Source } from './sources.ts';

/** What goes into a prompt. Pictures are ready: the question's, and those of sources by their `n`. */
export interface PromptInput {
  question: string;
  sources: Source[];
  questionPicture: ReadyPicture | null;
  pictures: ReadonlyMap<number, ReadyPicture>;
  /** Pictures that the asker allows; null: those that the model takes. */
  maxImages: number | null;
  showSteps: boolean;
  language: string | null;
  /** Tokens that the answer may have. */
  answerTokens: number;
  /** Unguessable for who wrote the sources: names the fences around them. */
  fence: string;
}

export interface BuiltPrompt {
  system: string;
  content: PromptPart[];
  /** Those that are in it. */
  sources: (Source & { shownText: string })[];
  /** In the order of the prompt. */
  pictures: { of: 'question' | number; picture: ReadyPicture }[];
  /** It asks for JSON; what is known of the server may change while it answers. */
  structured: boolean;
  /** Each a code, a colon, and what it means. */
  warnings: string[];
}

/** Of the longest source; more is cut before whole sources are dropped. */
const LEAST_TEXT_TOKENS = 48;
/** Of what is left for sources, the first may take so much where there are others. */
const MOST_SHARE = 0.5;

/**
 * Puts a prompt together that fits the model: sources by relevance, each fenced and neutralised, the question's picture and those of the most
 * relevant sources while there are places (the question's leaves one of two or more for a source). What does not fit `budgetTokens` goes, the
 * least relevant first: pictures beyond the model's places, then whole sources, and of the last one that stays the end of its text. Null when not even the question fits.
 */
export function buildPrompt(
  template: PromptTemplate,
  profile: ModelProfile,
  input: PromptInput,
  budgetTokens: number,
): BuiltPrompt | null {
  const { texts } = template;
  const system = fill(template.system, {
    fence: input.fence,
    box_frame: fill(texts.box_frame[profile.boxFrame], { side: profile.imageSidePx }),
    steps_rule: input.showSteps ? texts.steps_rule : '',
    language_rule: input.language ? fill(texts.language_rule, { language: input.language }) : texts.language_of_question,
    format_rule: profile.structured ? texts.format_rule : '',
  });
  const question = neutralise(input.question).trim() || texts.picture_alone;
  const places = placesOf(profile, input.maxImages);
  const questionPicture = places > 0 ? input.questionPicture : null;
  const withPicture = input.sources
    .filter(({ n }) => input.pictures.has(n))
    .slice(0, Math.max(0, places - (questionPicture ? 1 : 0)));
  const shown = new Set(withPicture.map(({ n }) => n));

  let room =
    budgetTokens - input.answerTokens - estimateTokens(system) - estimateTokens(`${texts.question_heading}\n${question}`);
  if (questionPicture) room -= profile.tokensPerImage + estimateTokens(texts.question_picture);
  if (room < 0) return null;

  const kept: BuiltPrompt['sources'] = [];
  const warnings: string[] = [];
  for (const source of input.sources) {
    const heading = estimateTokens(headOf(texts, source, input.fence)) * 2;
    const picture = profile.tokensPerImage + estimateTokens(texts.source_picture);
    // A source without its picture is worth more than none.
    if (shown.has(source.n) && heading + picture > room) shown.delete(source.n);
    const overhead = heading + (shown.has(source.n) ? picture : 0);
    const body = bodyOf(source);
    const share = kept.length === 0 && input.sources.length > 1 ? room * MOST_SHARE : room;
    const cut = cutTo(body, Math.max(share - overhead, Math.min(room - overhead, LEAST_TEXT_TOKENS)));
    if (overhead > room || (cut === '' && body !== '' && !shown.has(source.n))) {
      warnings.push(
        `sources_left_out: ${input.sources.length - kept.length} of ${input.sources.length} sources, the least relevant, did not fit the model's context.`,
      );
      break;
    }
    if (cut.length < body.length)
      warnings.push(`source_cut: the text of source ${source.n} is longer than there is room for; its beginning was shown.`);
    room -= overhead + estimateTokens(cut);
    kept.push({ ...source, shownText: cut });
  }
  const left = input.sources.filter(
    ({ n, picture }) => picture && !(shown.has(n) && kept.some((source) => source.n === n)),
  ).length;
  if (left > 0)
    warnings.push(
      `pictures_left_out: ${left} pictures of sources were not shown; the ${places < profile.maxImages ? 'question allows' : 'model takes'} ${places}.`,
    );

  const pictures: BuiltPrompt['pictures'] = [];
  const content: PromptPart[] = [];
  const show = (of: 'question' | number, heading: string, picture: ReadyPicture): void => {
    content.push(
      { type: 'text', text: `${heading}${sizeOf(texts, profile, picture.shown.frame)}:` },
      { type: 'image', bytes: picture.shown.bytes, mediaType: picture.shown.mediaType },
    );
    pictures.push({ of, picture });
  };
  if (kept.length === 0) content.push({ type: 'text', text: texts.no_sources });
  for (const source of kept) {
    content.push({
      type: 'text',
      text: `${headOf(texts, source, input.fence)}\n${source.shownText}\n</${input.fence}>`,
    });
    const picture = shown.has(source.n) ? input.pictures.get(source.n) : undefined;
    if (picture) show(source.n, fill(texts.source_picture, { n: source.n }), picture);
  }
  if (questionPicture) show('question', texts.question_picture, questionPicture);
  content.push({ type: 'text', text: `${texts.question_heading}\n${question}` });
  return { system, content, sources: kept, pictures, structured: profile.structured, warnings };
}

/** Pictures that a prompt may hold, the question's among them: what the model takes, or fewer where the asker allows fewer. */
export function placesOf({ maxImages }: Pick<ModelProfile, 'maxImages'>, allowed: number | null): number {
  return Math.min(maxImages, allowed ?? maxImages);
}

/** A prompt as the model server takes it. */
export function requestOf(built: BuiltPrompt, rest: Omit<GenerateRequest, 'system' | 'content'>): GenerateRequest {
  return { system: built.system, content: built.content, ...rest };
}

function headOf(texts: PromptTemplate['texts'], { n }: Source, fence: string): string {
  return `${fill(texts.source_heading, { n })}\n<${fence}>`;
}

/** A source's words as they stand, not as they are shown: what quotes are taken from and claims are checked against. */
export function wordsOf({ citation, text, attributes }: Source): string {
  const listed = Object.entries(attributes).map(([name, value]) => `${name}: ${[value].flat().map(String).join(', ')}`);
  return [citation.title, text, ...listed].filter((part) => part.trim() !== '').join('\n');
}

function bodyOf({ citation, text, attributes }: Source): string {
  const listed = Object.entries(attributes).map(
    ([name, value]) => `${neutraliseLine(name)}: ${neutraliseLine([value].flat().map(String).join(', '))}`,
  );
  return [neutraliseLine(citation.title), neutralise(text).trim(), ...listed].filter((part) => part !== '').join('\n');
}

function sizeOf(texts: PromptTemplate['texts'], profile: ModelProfile, frame: PictureFrame): string {
  if (profile.boxFrame !== 'picture_pixels') return '';
  const turned = frame.orientation >= 5;
  return fill(texts.picture_size, {
    width: turned ? frame.heightPx : frame.widthPx,
    height: turned ? frame.widthPx : frame.heightPx,
  });
}

/** The longest beginning of about so many tokens, whole words where there are any. */
function cutTo(text: string, tokens: number): string {
  if (estimateTokens(text) <= tokens) return text;
  if (tokens <= 0) return '';
  // No character is less than a third of a token.
  let [low, high] = [0, Math.min(text.length, Math.ceil(tokens * 3))];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (estimateTokens(text.slice(0, middle)) <= tokens) low = middle;
    else high = middle - 1;
  }
  const cut = text
    .slice(0, low)
    .toWellFormed()
    .replace(/\ufffd$/, '');
  const space = cut.lastIndexOf(' ');
  return space > cut.length * 0.8 ? cut.slice(0, space) : cut;
}
