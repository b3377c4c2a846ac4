import { exactAgreement, quadraticKappa } from './agreement.ts';
import type { Answered } from './ask-set.ts';
import { ASPECTS, GRADES, type openJudge, type readHumanLabels } from './judge.ts';
import { workAll, type WorkOptions } from './progress.ts';
import { answersOf } from './question-set.ts';
import type { EvaluatedAnswer, Measures } from './run.ts';
import { WHOLE } from './systems.ts';

export interface JudgeAnswersOptions extends WorkOptions {
  judge: ReturnType<typeof openJudge>;
  labels: Awaited<ReturnType<typeof readHumanLabels>> | null;
}

/**
 * Has the whole pipeline's answers graded: `judge.<aspect>` from 1 to 5 by question, and where people graded too `judge.<aspect>.kappa` and
 * `judge.<aspect>.same` over the questions of both. Answers how many have no grades, and
 * what the judge's server last said where it failed.
 */
export async function judgeAnswers(
  answered: readonly Answered[],
  sink: { measures: Measures; figures: Record<string, number>; answers: EvaluatedAnswer[] },
  { judge, labels, ...work }: JudgeAnswersOptions,
): Promise<{ ungraded: number; reason: string | null }> {
  const graded = answered.filter(
    ({ question, view, language }) => !question.unanswerable && language === 'en' && view.status === 'answered' && view.answer,
  );
  let ungraded = 0;
  let reason: string | null = null;
  await workAll('judging', graded, work, async ({ question, view }) => {
    const cited = view.citations.map(({ title, quote }) => ({ title, quote }));
    const toJudge = { question: question.question, expected: answersOf(question), answer: view.answer ?? '', cited };
    const told = await judge.judge(toJudge).catch((error: unknown) => {
      reason = error instanceof Error ? error.message : String(error);
      return null;
    });
    if (!told) {
      ungraded++;
      return;
    }
    for (const aspect of ASPECTS) sink.measures.add(`judge.${aspect}`, question.id, told[aspect].score);
    const kept = sink.answers.find(({ system, id, language }) => system === WHOLE && id === question.id && language === 'en');
    if (kept) kept.judged = told;
  });
  for (const aspect of labels ? ASPECTS : []) {
    const pairs = Object.entries(sink.measures.series[`judge.${aspect}`]?.values ?? {}).flatMap(([id, score]) => {
      const human = labels?.get(id)?.[aspect];
      return human === undefined ? [] : [[score, human] as const];
    });
    const [kappa, same] = [quadraticKappa(pairs, GRADES), exactAgreement(pairs)];
    sink.figures[`judge.${aspect}.labelled`] = pairs.length;
    if (kappa !== null) sink.figures[`judge.${aspect}.kappa`] = kappa;
    if (same !== null) sink.figures[`judge.${aspect}.same`] = same;
  }
  return { ungraded, reason };
}
