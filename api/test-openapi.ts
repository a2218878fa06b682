import { Ajv2020 } from "ajv/dist/2020.js";

/** Holds answers of the running interface to its own OpenAPI document. */

type Method = "get" | "post";
type Answer = { path: string; status: number; contentType: string; body: unknown; method?: Method };
type Operation = { operationId: string; responses: Record<string, { content?: Record<string, unknown> }> };
export type OpenApiDocument = {
  openapi: string;
  paths: Record<string, { get?: Operation; post?: Operation }>;
  components: { schemas: Record<string, unknown> };
};

const escaped = (part: string) => part.replaceAll("~", "~0").replaceAll("/", "~1");

/** Tells what of an answer the document does not allow: its status, its media type, its body. */
export function createAnswerCheck(document: OpenApiDocument): (answer: Answer) => string[] {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  ajv.addSchema(document, "document");
  const patterns = Object.keys(document.paths).map(
    (path) => [path, new RegExp(`^${path.replaceAll(/\{[^}]+\}/g, "[^/]+")}$`)] as const,
  );
  const templateOf = (path: string) =>
    document.paths[path] ? path : patterns.find(([, pattern]) => pattern.test(path))?.[0];

  return ({ path, status, contentType, body, method = "get" }) => {
    const template = templateOf(path);
    if (template === undefined) return [];
    const media = contentType.split(";")[0] as string;
    const response = document.paths[template]?.[method]?.responses[String(status)];
    if (!response) return [`${path}: the document has no ${status}`];
    if (!response.content?.[media]) return [`${path}: the document has no ${media} for ${status}`];
    const at = ["paths", template, method, "responses", String(status), "content", media, "schema"]
      .map(escaped)
      .join("/");
    const valid = ajv.getSchema(`document#/${encodeURI(at)}`) ?? ajv.compile({ $ref: `document#/${encodeURI(at)}` });
    if (valid(body)) return [];
    return (valid.errors ?? []).map((e) => `${path} ${status} ${e.instancePath}: ${e.message}`);
  };
}
