import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

const root = fileURLToPath(new URL('../..', import.meta.url));

const counts = z.record(z.string(), z.number());
const report = z.looseObject({
  clean: z.boolean(),
  tenants: z.array(
    z.looseObject({
      tenant: z.string(),
      points: z.number(),
      agreed: counts,
      findings: counts,
      unreadable: z.array(z.unknown()),
      running: z.array(z.string()),
      list: z.array(z.looseObject({ kind: z.string(), key: z.string(), detail: z.string() })),
    }),
  ),
});
export type AuditOutput = z.infer<typeof report>;

/** The real `npm run audit -- --json` as a process of its own, with this environment on top. */
export async function runAudit(env: Record<string, string>, flags: string[] = []): Promise<AuditOutput> {
  const { stdout, stderr } = await new Promise<{ stdout: string; stderr: string }>((resolve) => {
    execFile(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', 'scripts/audit.ts', '--json', ...flags],
      { cwd: root, env: { ...process.env, NODE_OPTIONS: '', ...env }, maxBuffer: 64 * 1024 * 1024 },
      (_, out, err) => resolve({ stdout: out, stderr: err }),
    );
  });
  try {
    return report.parse(JSON.parse(stdout));
  } catch (error) {
    throw new Error(`the audit gave no report: ${stderr}${stdout.slice(0, 2_000)}`, { cause: error });
  }
}
