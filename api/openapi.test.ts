import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { examples } from "./openapi-examples.ts";
import { problemCodes } from "./problem-codes.ts";
import { openWorld, type World } from "./test-app.ts";
import { createAnswerCheck, type OpenApiDocument } from "./test-openapi.ts";

let world: World;
let document: OpenApiDocument;
beforeAll(async () => {
  world = await openWorld();
  await world.app.ready();
  document = (await world.app.inject({ url: "/open/v1/openapi.json" })).json<OpenApiDocument>();
});
afterAll(() => world.close());

type Node = { [key: string]: unknown };
function* nodes(node: unknown): Generator<Node> {
  if (typeof node !== "object" || node === null) return;
  if (!Array.isArray(node)) yield node as Node;
  for (const inner of Object.values(node)) yield* nodes(inner);
}

describe("the OpenAPI document", () => {
  it("is the one that is committed: after a change of routes run `node api/print-openapi.ts`", () => {
    const committed = readFileSync(join(import.meta.dirname, "../docs/openapi.json"), "utf8");
    expect(document).toEqual(JSON.parse(committed));
  });

  it("is served without a key and does not tell what it must not", async () => {
    const reply = await world.app.inject({ url: "/open/v1/openapi.json" });
    expect(reply.statusCode).toBe(200);
    expect(reply.headers["content-type"]).toBe("application/json; charset=utf-8");
    expect(reply.body).not.toMatch(/jinlv|nanhai|yanshi/);
  });

  it("has every route but the page's own files", () => {
    // A tree: each line goes on from the nearest one above it that is less indented.
    const stack: string[] = [];
    const urls = world.app
      .printRoutes({ commonPrefix: false })
      .split("\n")
      .flatMap((line) => {
        const [, indent = "", part = "", methods = ""] = /^([\s│]*)[├└]── (\S+)(?: \((.*)\))?/.exec(line) ?? [];
        stack.length = indent.length / 4;
        const url = `${stack.join("")}${part}`;
        stack.push(part);
        return /GET|POST/.test(methods) ? [url] : [];
      });
    expect(urls.length).toBeGreaterThan(15);
    const page = /^\/$|^\/wall\/[a-z]+\.(css|js|svg)$/;
    const wanted = urls.filter((url) => !page.test(url)).map((url) => url.replaceAll(/:(\w+)/g, "{$1}"));
    expect(Object.keys(document.paths).sort()).toEqual(wanted.sort());
  });

  it("is OpenAPI 3.1 in shape: ids used once, tags and security known, references that resolve, schemas that compile", () => {
    expect(document.openapi).toBe("3.1.0");
    const whole = document as unknown as { tags: { name: string }[]; components: { securitySchemes: Node } };
    const operations = Object.values(document.paths).flatMap((item) => Object.values(item) as unknown as Node[]);
    expect(new Set(operations.map((o) => o.operationId)).size).toBe(operations.length);
    const tags = new Set(whole.tags.map((t) => t.name));
    for (const operation of operations) {
      expect((operation.tags as string[]).filter((tag) => !tags.has(tag))).toEqual([]);
      expect(operation.summary).toMatch(/[\u4e00-\u9fff].*· [A-Z]/);
      const schemes = ((operation.security ?? []) as Node[]).flatMap((one) => Object.keys(one));
      expect(schemes.filter((name) => !(name in whole.components.securitySchemes))).toEqual([]);
      for (const parameter of (operation.parameters ?? []) as Node[]) {
        expect(Object.keys(parameter)).toEqual(
          expect.arrayContaining(["in", "name", "schema", "required"].slice(0, 3)),
        );
        expect(parameter.description, `${operation.operationId} ${parameter.name}`).toBeTruthy();
      }
      for (const response of Object.values(operation.responses as Record<string, Node>))
        expect(response.description).not.toMatch(/^$|Default Response/);
    }
    const ajv = new Ajv2020({ strict: false });
    ajv.addSchema(document, "document");
    const references = [...nodes(document)].flatMap((node) => (typeof node.$ref === "string" ? [node.$ref] : []));
    expect(references.length).toBeGreaterThan(40);
    for (const reference of new Set(references))
      expect(() => ajv.compile({ $ref: `document${reference}` })).not.toThrow();
  });

  it("names every refusal, with the status it comes with, as problem details", () => {
    const told = new Map<string, Set<string>>();
    for (const { responses } of Object.values(document.paths).flatMap((item) => Object.values(item))) {
      for (const [status, response] of Object.entries(responses)) {
        if (status === "200") continue;
        expect(Object.keys(response.content ?? {})).toEqual(["application/problem+json"]);
        for (const [, code = ""] of (response as { description?: string }).description?.matchAll(/`([A-Z_]+)`/g) ?? [])
          told.set(code, (told.get(code) ?? new Set()).add(status));
      }
    }
    // These two belong to no route.
    const codes = Object.entries(problemCodes).filter(([code]) => !/^(ROUTE_UNKNOWN|METHOD_NOT_ALLOWED)$/.test(code));
    expect(Object.fromEntries(told)).toEqual(
      Object.fromEntries(codes.map(([code, { status }]) => [code, new Set([String(status)])])),
    );
  });

  it("has examples that its own schemas allow", () => {
    const check = createAnswerCheck(document);
    const operations = Object.entries(document.paths).map(([path, { get }]) => [get?.operationId, path] as const);
    const byId = new Map(operations);
    expect(Object.keys(examples).filter((id) => !byId.has(id))).toEqual([]);
    for (const [id, body] of Object.entries(examples)) {
      const contentType = typeof body === "string" ? "text/event-stream" : "application/json";
      expect(check({ path: byId.get(id) ?? "", status: 200, contentType, body }), id).toEqual([]);
    }
  });

  it("has every address, parameter and refusal that docs/open-interface.md names", () => {
    const text = readFileSync(join(import.meta.dirname, "../docs/open-interface.md"), "utf8");
    const asked = [...text.matchAll(/http:\/\/localhost:8080(\/[^\s'"?]*)(?:\?([^\s'"]*))?/g)];
    expect(asked.length).toBeGreaterThan(6);
    for (const [, path = "", query = ""] of asked) {
      const template = document.paths[path] ? path : path.replace(/[^/]+$/, "{id}");
      expect(Object.keys(document.paths), path).toContain(template);
      type Asked = { parameters?: { name: string }[] };
      const operations = Object.values(document.paths[template] ?? {}) as Asked[];
      const known = operations.flatMap(({ parameters = [] }) => parameters.map((p) => p.name));
      expect(known).toEqual(expect.arrayContaining([...new URLSearchParams(query).keys()]));
    }
    for (const [, path = ""] of text.matchAll(/^## GET (\S+)$/gm)) expect(Object.keys(document.paths)).toContain(path);
    for (const [code, { status }] of Object.entries(problemCodes))
      expect(text).toMatch(new RegExp(`\\| ${status} \\|[^\\n]*\`${code}\``));
  });

  it("refuses an answer that is not what it says: the check itself can fail", () => {
    const check = createAnswerCheck(document);
    const good = { path: "/health/live", status: 200, contentType: "application/json" };
    expect(check({ ...good, body: { status: "ok" } })).toEqual([]);
    expect(check({ ...good, body: { status: "fine" } })).toHaveLength(1);
    expect(check({ ...good, status: 418, body: {} })).toHaveLength(1);
    expect(check({ ...good, contentType: "text/html", body: {} })).toHaveLength(1);
  });
});
