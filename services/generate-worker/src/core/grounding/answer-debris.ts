/** Tokens that end a turn in one chat template or another; what a model writes behind one is no answer. */
const ENDS =
  /<\|(?:im_end|im_start|endoftext|eot_id|end|end_of_text|start_header_id|user|assistant)\|>|<\/s>|<(?:end|start)_of_turn>|\[\/?INST\]/i;
/** Roles that open a turn, at the beginning of a line, as templates write them. */
const ROLE = /^[ \t]*(?:USER|ASSISTANT|HUMAN|SYSTEM|### (?:Human|User|Assistant|Instruction|Response)):/m;
const LEADING =
  /^\s*(?:<\|im_start\|>\s*assistant\b|<\|(?:assistant|begin_of_text)\|>|<s>|<start_of_turn>\s*model\b|ASSISTANT:|Assistant:|### (?:Assistant|Response):|<think>[^<]*<\/think>)/;
/** Where the prompt holds a picture. */
const PLACEHOLDERS = /<image>|<\|(?:image_pad|vision_start|vision_end|image)\|>/g;
const LEADING_MARKS = 8;

/** The answer without what belongs to a chat template: opening roles, the token that ends the turn and what follows it. */
export function cutDebris(text: string): string {
  let rest = text;
  for (let n = 0; n < LEADING_MARKS; n++) {
    const leading = LEADING.exec(rest);
    if (!leading) break;
    rest = rest.slice(leading[0].length);
  }
  rest = rest.replace(PLACEHOLDERS, '');
  const ends = [ENDS.exec(rest)?.index, ROLE.exec(rest)?.index].filter((at) => at !== undefined);
  return (ends.length > 0 ? rest.slice(0, Math.min(...ends)) : rest).trim();
}
