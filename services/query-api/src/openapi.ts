import type { SwaggerTransformObject } from '@fastify/swagger';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';

export const SECURITY_SCHEMES = {
  apiKey: {
    type: 'http',
    scheme: 'bearer',
    description:
      'An API key, `sl_...`, made by `npm run keys -- create` or `POST /v1/keys`. Not asked for by a stack that serves the loopback interface only.',
  },
} as const;

/** What a route asks of a key is read where the server reads it: the roles of its security requirement are scopes. */
export const withSecurity: typeof jsonSchemaTransform = (document) => {
  const transformed = jsonSchemaTransform(document);
  const access = document.route.config?.access ?? 'admin';
  const security = access === 'public' ? [] : [{ apiKey: [access] }];
  return { ...transformed, schema: { ...transformed.schema, security } };
};

const METHODS = ['get', 'post', 'delete', 'put', 'patch'] as const;

/**
 * The generated document made true and small: every operation's `default` answer is problem details whatever its good answers are,
 * and schemas that nothing refers to (zod's registry writes an input and an output form of each) are left out.
 */
export const openApiDocument: SwaggerTransformObject = (documentObject) => {
  const document = jsonSchemaTransformObject(documentObject);
  if (!('openapi' in document)) return document;
  for (const path of Object.values(document.paths ?? {})) {
    for (const method of METHODS) {
      const answer = path?.[method]?.responses?.['default'];
      if (!answer || !('content' in answer)) continue;
      const [problem] = Object.values(answer.content ?? {});
      answer.description = 'RFC 9457 problem details';
      if (problem) answer.content = { 'application/problem+json': problem };
    }
  }
  const schemas = document.components?.schemas;
  if (schemas) for (const name of unreferenced(document, Object.keys(schemas))) delete schemas[name];
  return document;
};

/** Schemas that no path reaches, directly or through another schema. */
function unreferenced(
  document: { paths?: object; components?: { schemas?: Record<string, unknown> } },
  names: string[],
): string[] {
  const reached = new Set<string>();
  const follow = (value: unknown): void => {
    for (const [, name = ''] of JSON.stringify(value ?? {}).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (reached.has(name)) continue;
      reached.add(name);
      follow(document.components?.schemas?.[name]);
    }
  };
  follow(document.paths);
  return names.filter((name) => !reached.has(name));
}
