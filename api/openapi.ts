import { fastifySwagger } from "@fastify/swagger";
import type { TSchema } from "typebox";
import { Type } from "typebox";
import { alarmSchema } from "./alarm-view.ts";
import type { App } from "./app.ts";
import { figureSchema, loggedFigureSchema } from "./figures.ts";
import { examples } from "./openapi-examples.ts";
import packageFile from "./package.json" with { type: "json" };
import { type ProblemCode, problemCodes } from "./problem-codes.ts";
import { problemSchema } from "./problems.ts";
import { countsSchema, deviceSchema, enterpriseSchema, factorySchema } from "./registry-view.ts";
import { kpiSchema, wallFigureSchema, wallStateSchema } from "./wall-state.ts";

/** The OpenAPI document of every route, made from the schemas that check requests and write answers: it cannot say otherwise. */

const components: Readonly<Record<string, TSchema>> = {
  Figure: figureSchema,
  LoggedFigure: loggedFigureSchema,
  Problem: problemSchema,
  Alarm: alarmSchema,
  Device: deviceSchema,
  DeviceCounts: countsSchema,
  Enterprise: enterpriseSchema,
  Factory: factorySchema,
  WallFigure: wallFigureSchema,
  WallKpi: kpiSchema,
  WallState: wallStateSchema,
};

const tags = [
  { name: "figures", description: "数据：按层级与周期的指标值 · Figures by level and period" },
  { name: "changes", description: "变更日志：拉取、长轮询与推送 · The change log: pull, wait, push" },
  { name: "definitions", description: "定义：公式、系数、测点角色 · What figures are made of" },
  { name: "alarms", description: "报警：按规则由读数得出 · Alarms by the rules of the registry" },
  { name: "readings", description: "原始读数 · The readings behind a figure" },
  { name: "registry", description: "企业、工厂、设备及其状态 · Who takes part, and the state of each machine now" },
  { name: "platform", description: "平台信息与健康 · About the platform" },
  { name: "gateways", description: "网关：注册与证书续期 · For gateways: their certificates" },
  { name: "wall", description: "大屏 · The wall page's data" },
  {
    name: "operator",
    description:
      "运维：登记的版本、报警确认与审计 · For operators: versions of the registry, acknowledging alarms, and who changed what",
  },
];

const description = `The open data interface is read-only; below \`/operator\`, with keys of their own, operators apply versions of the registry and acknowledge alarms; below \`/gateway\` gateways get their certificates. Times are ISO 8601 with the offset of Asia/Shanghai; values are decimal strings; null always comes with a reason and is never 0. Errors are problem details (RFC 9457) with a stable \`code\`.

开放数据接口只读；\`/operator\` 下由操作员以专用密钥应用登记册的版本、确认报警；\`/gateway\` 下网关取得证书。时间为 ISO 8601（亚洲/上海时区偏移），数值为十进制字符串；空值必有原因，绝不以 0 代替。错误为 RFC 9457 问题详情，\`code\` 稳定不变。`;

const openapi = {
  openapi: "3.1.0",
  info: {
    title: "集联开放数据接口 · Jilian open data interface",
    version: packageFile.version,
    description,
    license: { name: "Apache-2.0", identifier: "Apache-2.0" },
  },
  servers: [{ url: "/", description: "the platform that serves this document 本平台" }],
  tags,
  security: [{ bearer: [] }, { apiKey: [] }],
  components: {
    securitySchemes: {
      bearer: { type: "http", scheme: "bearer", description: "Authorization: Bearer name.secret" },
      operator: { type: "http", scheme: "bearer", description: "Authorization: Bearer name.secret, an operator's key" },
      apiKey: { type: "apiKey", in: "header", name: "X-API-Key", description: "X-API-Key: name.secret" },
    },
  },
} as const;

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type JsonObject = { [key: string]: Json };
const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as JsonObject;

/** Refusals by status, as an answer's description names them. */
function refusalsOf(codes: readonly ProblemCode[]): Map<number, string> {
  const byStatus = Map.groupBy(new Set(codes), (code) => problemCodes[code].status);
  const told = (code: ProblemCode) => `\`${code}\` ${problemCodes[code].when}。${problemCodes[code].zh}`;
  return new Map(
    [...byStatus].sort(([a], [b]) => a - b).map(([status, list]) => [status, list.map(told).join("\n\n")]),
  );
}

const refusalHeaders: Readonly<Record<number, JsonObject>> = {
  401: { "WWW-Authenticate": { schema: { type: "string" }, description: "how to authorise (RFC 6750)" } },
  429: { "Retry-After": { schema: { type: "integer" }, description: "seconds" } },
  503: { "Retry-After": { schema: { type: "integer" }, description: "seconds; where it is a matter of time" } },
};

/** Replaces what is a named schema by a reference to it, the largest first. */
function hoist(node: Json, names: ReadonlyMap<string, string>, self?: string): Json {
  if (typeof node !== "object" || node === null) return node;
  if (Array.isArray(node)) return node.map((item) => hoist(item, names));
  const name = names.get(JSON.stringify(node));
  if (name !== undefined && name !== self) return { $ref: `#/components/schemas/${name}` };
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, hoist(value, names)]));
}

type Operation = { operationId: string; responses: Record<string, JsonObject>; security?: Json[] };

/** An operation with its refusals, its examples, and no answer that is not one of them. */
function completed(operation: Operation, codes: readonly ProblemCode[]): Operation {
  const isOpen = operation.security?.length === 0;
  const ok = operation.responses["200"] as JsonObject;
  const [media = {}] = Object.values((ok.content ?? {}) as Record<string, JsonObject>);
  const example = examples[operation.operationId];
  if (example !== undefined) media.example = example as Json;
  const common: ProblemCode[] = isOpen ? [] : ["UNAUTHORIZED", "TOO_MANY_KEYS"];
  const content = { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } };
  const refusals = [...refusalsOf([...codes, ...common, "INTERNAL"])].map(([status, told]) => {
    const headers = refusalHeaders[status];
    return [String(status), { description: told, ...(headers && { headers }), content }] as const;
  });
  if (ok.description === "Default Response") ok.description = "OK";
  return { ...operation, responses: { "200": ok, ...Object.fromEntries(refusals) } };
}

/** Adds the generator. Routes that are registered after it are described if they have a tag. */
export function describeRoutes(app: App): void {
  const problems = new Map<string, readonly ProblemCode[]>();
  app.register(fastifySwagger, {
    openapi: openapi as never,
    hideUntagged: true,
    convertConstToEnum: false,
    transform: ({ schema, url, route }) => {
      if (schema?.operationId) problems.set(schema.operationId, route.config?.problems ?? []);
      return { schema, url };
    },
    transformObject: (made) => {
      const document = plain("openapiObject" in made ? made.openapiObject : {});
      const names = new Map(Object.entries(components).map(([name, schema]) => [JSON.stringify(plain(schema)), name]));
      const schemas = Object.entries(components).map(([name, schema]) => [name, hoist(plain(schema), names, name)]);
      const paths = Object.entries(document.paths as Record<string, Record<string, Json>>).map(([path, item]) => {
        const operations = Object.entries(item as unknown as Record<string, Operation>).map(([method, operation]) => {
          const whole = completed(plain(operation) as unknown as Operation, problems.get(operation.operationId) ?? []);
          return [method, hoist(whole as unknown as Json, names)] as const;
        });
        return [path, Object.fromEntries(operations)];
      });
      return {
        ...document,
        components: { ...(document.components as JsonObject), schemas: Object.fromEntries(schemas) },
        paths: Object.fromEntries(paths),
      } as never;
    },
  });
}

/** Serves the document. It holds no data and needs no key. */
export function addOpenApiRoute(app: App): void {
  let text: string | undefined;
  const schema = {
    operationId: "getOpenApi",
    tags: ["platform"],
    summary: "本接口的 OpenAPI 3.1 描述 · This document",
    security: [],
    response: { 200: Type.Any({ description: "OpenAPI 3.1" }) },
  };
  app.get("/open/v1/openapi.json", { schema }, async (_request, reply) => {
    text ??= JSON.stringify(app.swagger());
    return reply.type("application/json; charset=utf-8").send(text);
  });
}
