import type { QuestionView } from '@sightline/shared/contracts/question-http';

type Claim = QuestionView['claims'][number];
export interface AnswerBlock {
  step: number | null;
  parts: { verdict: Claim['verdict'] | null; pieces: { text: string; n?: number }[] }[];
}
export declare function textSoFar(text: string): string;
export declare function answerBlocks(
  question: { answer: string; steps: string[] | null; claims: Pick<Claim, 'text' | 'verdict'>[] },
  sources: number[],
): AnswerBlock[];
