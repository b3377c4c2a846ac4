import { analyse } from '@sightline/shared/retrieval/analyser';
import { findRegion } from './find-region.ts';
import type { SeenPrompt } from './read-prompt.ts';

/** As it is told in answers. */
export const INTERIM_MODEL = 'sightline-interim-generator';

/**
 * Stands in for a vision-language model until the project has one of its own. It understands nothing: it quotes the line of a source that
 * shares most words with the question, and marks the region of that source's picture (or the question's) that differs most from the rest of
 * it. It sees the prompt's text and the pictures' pixels, and nothing else. What it shows is the form of an answer.
 */
export async function interimAnswer({ sources, questionPicture, question, wantsSteps }: SeenPrompt): Promise<string> {
  const isChinese = /\p{Script=Han}/u.test(question);
  const asked = new Set(analyse(question));
  const [best] = sources
    .flatMap((source) => source.lines.map((line) => ({ source, line, shared: sharedWords(line, asked) })))
    .sort((a, b) => b.shared - a.shared || a.source.n - b.source.n);
  const picture = questionPicture ?? best?.source.picture ?? null;
  const region = picture ? await findRegion(picture) : null;
  const says: string[] = [];
  if (best)
    says.push(
      isChinese
        ? `资料 ${best.source.n} 写道：“${best.line}” [${best.source.n}]。`
        : `The source says: "${best.line}" [${best.source.n}].`,
    );
  if (region) {
    const named = best && !questionPicture ? ` [${best.source.n}]` : '';
    says.push(
      isChinese
        ? `图中最突出的区域${named} [[${region.join(',')}]]。`
        : `What differs most from the rest of ${questionPicture ? "the question's picture" : 'its picture'} is marked "stands out"${named} [[${region.join(',')}]].`,
    );
  }
  if (says.length === 0) return isChinese ? '资料中没有答案。' : 'The sources do not say.';
  return wantsSteps ? says.map((line, i) => `${i + 1}. ${line}`).join('\n') : says.join(' ');
}

function sharedWords(line: string, asked: Set<string>): number {
  return [...new Set(analyse(line))].filter((word) => asked.has(word)).length;
}
