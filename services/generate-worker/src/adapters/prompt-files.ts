import { readFile } from 'node:fs/promises';
import { parseClaimTemplate, type ClaimTemplate } from '../core/grounding/check-claims.ts';
import { parsePromptTemplate, type PromptTemplate } from '../core/prompt-template.ts';

const PROMPTS = new URL('../../prompts/', import.meta.url);

/** What answers are made with: a folder of `prompts/`, and what claims are checked with. A changed wording is a new name; a test holds them to it. */
const PROMPT_VERSION = 'answer-v1';
const CLAIM_VERSION = 'claim-check-v1';

/** Reads the prompt's files; throws when they are not there or not what they should be. */
export async function readPromptFiles(): Promise<{ template: PromptTemplate; claimTemplate: ClaimTemplate }> {
  const read = (path: string): Promise<string> => readFile(new URL(path, PROMPTS), 'utf8');
  const [system, texts, notFound, claim] = await Promise.all([
    read(`${PROMPT_VERSION}/system.txt`),
    read(`${PROMPT_VERSION}/texts.json`),
    read(`${PROMPT_VERSION}/not-found.json`),
    read(`${CLAIM_VERSION}.txt`),
  ]);
  return {
    template: parsePromptTemplate(`${PROMPT_VERSION}+${CLAIM_VERSION}`, { system, texts, notFound }),
    claimTemplate: parseClaimTemplate(claim),
  };
}
