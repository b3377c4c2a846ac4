/** What a server that can be held to a schema is held to (`GenerateRequest.schema`); `parseAnswer` reads it. */
export const ANSWER_SCHEMA: { name: string; schema: Record<string, unknown> } = {
  name: 'answer',
  schema: {},
};
