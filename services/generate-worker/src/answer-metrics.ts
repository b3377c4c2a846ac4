import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { QuestionLedger } from '@sightline/shared/ports/question-ledger';
import type { AnswerMetrics } from './core/answer-deps.ts';

const STAGE_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

/** What the generate worker measures of questions. */
export function openAnswerMetrics(registry: Registry, ledger: Pick<QuestionLedger, 'questionBacklog'>): AnswerMetrics {
  const registers = [registry];
  const stages = new Histogram({
    name: 'sightline_answer_stage_seconds',
    help: 'Time of each stage of answering a question.',
    labelNames: ['stage'],
    buckets: STAGE_SECONDS,
    registers,
  });
  const outcomes = new Counter({
    name: 'sightline_questions_ended_total',
    help: 'Times a question was let go of, by how.',
    labelNames: ['outcome'],
    registers,
  });
  const dropped = new Counter({
    name: 'sightline_answer_marks_dropped_total',
    help: 'Citations of sources that were not given, and boxes that lie in no picture, cut from answers.',
    labelNames: ['what'],
    registers,
  });
  const claims = new Counter({
    name: 'sightline_answer_claims_total',
    help: 'Sentences of answers by what checking them against their sources said.',
    labelNames: ['verdict'],
    registers,
  });
  const backlog = new Gauge({
    name: 'sightline_questions',
    help: 'Questions that are not finished.',
    labelNames: ['state'],
    registers,
    collect: async () => {
      backlog.reset();
      oldest.reset();
      const count = await ledger.questionBacklog().catch(() => null);
      if (!count) return;
      backlog.set({ state: 'queued' }, count.queued);
      backlog.set({ state: 'running' }, count.running);
      oldest.set(count.oldestCreatedAt === null ? 0 : Math.max(0, Date.now() - count.oldestCreatedAt) / 1000);
    },
  });
  const oldest = new Gauge({
    name: 'sightline_questions_oldest_seconds',
    help: 'Age of the oldest question that is not finished.',
    registers,
  });
  return {
    stage: (stage, ms) => stages.observe({ stage }, ms / 1000),
    ended: (outcome) => outcomes.inc({ outcome }),
    dropped: (what, count) => dropped.inc({ what }, count),
    claim: (verdict, count) => claims.inc({ verdict }, count),
  };
}
