/** The longest unit that is looked for, in characters. */
const LONGEST_UNIT = 240;
const LEAST_TIMES = 5;
/** Rules and rows of dots repeat too: only so long a stretch of the same is a model that turns in circles. */
const LEAST_LENGTH = 200;

/** How much of an answer's end `isRepeating` looks at. */
export const REPETITION_TAIL = LONGEST_UNIT * LEAST_TIMES;

/** Whether a text ends in the same unit over and over: one of up to 240 characters, five times or more, over 200 characters or more. */
export function isRepeating(text: string): boolean {
  const tail = text.slice(-REPETITION_TAIL);
  for (let unit = 1; unit <= LONGEST_UNIT; unit++) {
    const wanted = Math.max(unit * LEAST_TIMES, LEAST_LENGTH);
    if (wanted > tail.length) return false;
    let same = unit;
    while (same < wanted && tail[tail.length - 1 - same] === tail[tail.length - 1 - same + unit]) same++;
    if (same >= wanted) return true;
  }
  return false;
}
