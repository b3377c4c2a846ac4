import { readFile } from 'node:fs/promises';
import { parseClaimTemplate, type ClaimTemplate } from '../core/grounding/check-claims.ts';
import { parsePromptTemplate, type PromptTemplate } from '../core/prompt-template.ts';

const PROMPTS = new URL('../../prompts/', import.meta.url);

/** The version of the prompt that answers are made with: a folder of `prompts/`. A changed wording is a new folder. */
const PROMPT_VERSION = 'answer-v1';
const CLAIM_TEMPLATE = 'claim-check-v1.txt';

/** Reads the prompt's files; throws when they are not there or not what they should be. */
export async function readPromptFiles(): Promise<{ template: PromptTemplate; claimTemplate: ClaimTemplate }> {
  const read = (path: string): Promise<string> => readFile(new URL(path, PROMPTS), 'utf8');
  const [system, texts, notFound, claim] = await Promise.all([
    read(`${PROMPT_VERSION}/system.txt`),
    read(`${PROMPT_VERSION}/texts.json`),
    read(`${PROMPT_VERSION}/not-found.json`),
    read(CLAIM_TEMPLATE),
  ]);
  return {
    template: parsePromptTemplate(PROMPT_VERSION, { system, texts, notFound }),
    claimTemplate: parseClaimTemplate(claim),
  };
}
