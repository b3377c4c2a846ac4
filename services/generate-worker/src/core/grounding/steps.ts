/** `1.`, `2)`, `(3)`, `Step 4:`, `步骤5：`, `第六步，` at the beginning of a line; `1.5 mm` is none. */
const STEP =
  /^[ \t]{0,12}(?:\*\*)?(?:(?:step|步骤)[ \t]{0,3}\d{1,2}[ \t]{0,3}[.:：)、-]?|第[ \t]{0,3}(?:\d{1,2}|[一二三四五六七八九十]{1,3})[ \t]{0,3}步[：:、，,]?|\(\d{1,2}\)|\d{1,2}[.)、](?!\d))(?:\*\*)?[ \t]{0,3}/i;

/**
 * The numbered lines of an answer, with the lines that follow each up to the next or to an empty one, numbered anew from 1 in the
 * text, whatever the model counted. Null where no line has a number.
 */
export function numberSteps(text: string): { text: string; steps: string[] } | null {
  const steps: string[] = [];
  const lines: string[] = [];
  let open = false;
  for (const line of text.split('\n')) {
    const mark = STEP.exec(line)?.[0];
    const rest = mark === undefined ? '' : line.slice(mark.length).trim();
    if (rest !== '') {
      steps.push(rest);
      lines.push(`${steps.length}. ${rest}`);
      open = true;
      continue;
    }
    if (mark === undefined || line.trim() === '') lines.push(line);
    if (line.trim() === '') open = false;
    else if (open && mark === undefined) steps[steps.length - 1] += ` ${line.trim()}`;
  }
  return steps.length > 0 ? { text: lines.join('\n').trim(), steps } : null;
}

/** Steps that came apart from the answer stand before it. */
export function withSteps(steps: string[], answer: string): string {
  const numbered = steps.map((step, i) => `${i + 1}. ${step.replace(/\s+/g, ' ').replace(STEP, '').trim()}`);
  return [numbered.join('\n'), answer].filter(Boolean).join('\n\n');
}
