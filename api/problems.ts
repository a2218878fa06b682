import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { codeOf, messageOf } from "@jilian/domain/errors.ts";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { type Static, Type } from "typebox";
import type { App } from "./app.ts";
import { maxKnownNamed } from "./limits.ts";
import { type ProblemCode, problemCodes } from "./problem-codes.ts";
import { securityHeaders } from "./security-headers.ts";
import type { Stats } from "./stats.ts";

/** One thing wrong with a request. */
const faultSchema = Type.Object({
  parameter: Type.String(),
  found: Type.String(),
  expected: Type.String(),
  remedy: Type.String(),
});
export type ParameterFault = Static<typeof faultSchema>;

/** Problem details (RFC 9457) with this product's own members: a stable code, each fault, what is known, the remedy. */
export const problemSchema = Type.Object(
  {
    type: Type.String({ description: "urn:jilian:problem:CODE" }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String({ description: "stable; programs decide on it" }),
    remedy: Type.Optional(Type.String()),
    faults: Type.Optional(Type.Array(faultSchema)),
    known: Type.Optional(Type.Array(Type.String(), { description: "ids that would have been found; the first ones" })),
    instance: Type.Optional(Type.String({ description: "urn:uuid of this occurrence; the log has it too" })),
  },
  { description: "RFC 9457 problem details" },
);
export type Problem = Static<typeof problemSchema>;

function titleOf(code: string): string | undefined {
  return Object.hasOwn(problemCodes, code) ? problemCodes[code as ProblemCode].title : undefined;
}

type Refusal = Omit<Problem, "type" | "title" | "instance"> & { title?: string };

/** An error that the error handler answers with as it is. */
export type ProblemError = Error & { readonly problem: Problem };

/** Makes the error to throw; `known` is cut to the first few names. */
export function problem({ title, known, ...rest }: Refusal): ProblemError {
  const body: Problem = {
    type: `urn:jilian:problem:${rest.code}`,
    title: title ?? titleOf(rest.code) ?? STATUS_CODES[rest.status] ?? "Refused",
    ...rest,
    ...(known === undefined ? {} : { known: known.slice(0, maxKnownNamed) }),
  };
  return Object.assign(new Error(rest.detail), { problem: body });
}

/** A 400 that lists every fault. */
export function invalid(faults: ParameterFault[]): ProblemError {
  return problem({
    code: "PARAMETER_INVALID",
    status: 400,
    detail: faults.map((f) => `${f.parameter}: expected ${f.expected}, found ${f.found}`).join("; "),
    faults,
  });
}

export function sendProblem(reply: FastifyReply, body: Problem): FastifyReply {
  return reply.code(body.status).header("content-type", "application/problem+json; charset=utf-8").send(body);
}

function isProblemError(error: unknown): error is ProblemError {
  return error instanceof Error && "problem" in error;
}

type Validation = NonNullable<FastifyError["validation"]>[number] & { parentSchema?: Record<string, unknown> };

function expectation(schema: Record<string, unknown>): string {
  if (Array.isArray(schema.enum)) return `one of ${schema.enum.join(", ")}`;
  const parts = [String(schema.type ?? "a value")];
  for (const [key, words] of [
    ["minimum", ">="],
    ["maximum", "<="],
    ["minLength", "of length >="],
    ["maxLength", "of length <="],
  ] as const) {
    if (schema[key] !== undefined) parts.push(`${words} ${String(schema[key])}`);
  }
  const text = parts.join(" ");
  return typeof schema.description === "string" ? `${text} (${schema.description})` : text;
}

function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}..."` : text;
}

/** The faults of a request's query, from what the schema's validator found. */
function faultsOf(validation: readonly Validation[], query: Record<string, unknown>): ParameterFault[] {
  const faults = validation.map(({ keyword, instancePath, params, parentSchema = {} }): ParameterFault => {
    const known = Object.keys((parentSchema.properties ?? {}) as object);
    if (keyword === "additionalProperties") {
      const parameter = String(params.additionalProperty);
      const expected = known.length > 0 ? `one of the parameters ${known.join(", ")}` : "no parameter";
      return { parameter, found: show(query[parameter]), expected, remedy: `leave out "${parameter}"` };
    }
    if (keyword === "required") {
      const parameter = String(params.missingProperty);
      const schema = (parentSchema.properties as Record<string, Record<string, unknown>>)[parameter] ?? {};
      return { parameter, found: "nothing", expected: expectation(schema), remedy: `add "${parameter}"` };
    }
    const parameter = instancePath.split("/")[1] ?? "";
    const found = show(query[parameter]);
    if (Array.isArray(query[parameter])) {
      return { parameter, found, expected: "the parameter once", remedy: `give "${parameter}" once` };
    }
    return { parameter, found, expected: expectation(parentSchema), remedy: "change the value to what is allowed" };
  });
  const seen = new Set<string>();
  return faults.filter((f) => !seen.has(f.parameter) && seen.add(f.parameter));
}

function onError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (isProblemError(error)) return sendProblem(reply, error.problem);
  if (error.validation) {
    const faults = faultsOf(error.validation as Validation[], request.query as Record<string, unknown>);
    return sendProblem(reply, invalid(faults).problem);
  }
  const status = error.statusCode ?? 500;
  if (status >= 400 && status < 500) {
    return sendProblem(reply, problem({ code: codeOf(error), status, detail: messageOf(error) }).problem);
  }
  const instance = `urn:uuid:${request.id}`;
  request.log.error({ err: error, instance, route: request.routeOptions.url }, "request failed");
  const { problem: body } = problem({
    code: "INTERNAL",
    status: 500,
    detail: "the platform could not answer; its log says why",
    remedy: "try again; if it fails again, give the operator the instance id",
  });
  return sendProblem(reply, { ...body, instance });
}

/** Answers an address that cannot be read, which no hook and no route sees. */
export function onBadAddress(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  onError(error, request, reply.headers(securityHeaders));
}

function onNotFound(app: App, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const path = request.url.split("?")[0] ?? "";
  const served = (["GET", "HEAD", "POST"] as const).filter((method) =>
    [path, path.replace(/[^/]+$/, ":id")].some((url) => app.hasRoute({ method, url })),
  );
  if (served.length > 0 && !(served as readonly string[]).includes(request.method)) {
    const { problem: body } = problem({
      code: "METHOD_NOT_ALLOWED",
      status: 405,
      detail: `${request.method} is not served at ${path}`,
      remedy: `use ${served.join(", ")}`,
    });
    return sendProblem(reply.header("allow", served.join(", ")), body);
  }
  const { problem: body } = problem({
    code: "ROUTE_UNKNOWN",
    status: 404,
    detail: `nothing is served at ${path.slice(0, 200)}`,
    remedy: "start from /open/v1/info",
  });
  return sendProblem(reply, body);
}

/** Every refusal and failure of the app leaves as problem details; a failure's stack stays in the log. */
export function answerWithProblems(app: App): void {
  app.setErrorHandler(onError);
  // Before the body is read: what is not served is refused whatever it carries.
  app.addHook("onRequest", async (request, reply) => {
    if (request.is404) return onNotFound(app, request, reply);
  });
}

/** Answers bytes that are no HTTP request, before any route sees them; the connection ends. */
export function malformedAnswerer(stats: Pick<Stats, "count">) {
  return (error: Error & { code?: string }, socket: Socket): void => {
    stats.count("malformedRequests");
    onMalformedRequest(error, socket);
  };
}

function onMalformedRequest(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) return void socket.destroy();
  const [status, code] =
    error.code === "HPE_HEADER_OVERFLOW"
      ? [431, "HEADERS_TOO_LARGE"]
      : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? [408, "REQUEST_TIMEOUT"]
        : [400, "REQUEST_MALFORMED"];
  const { problem: body } = problem({
    code: String(code),
    status: Number(status),
    detail: "this is not an HTTP request to answer",
  });
  const text = JSON.stringify(body);
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[Number(status)]}\r\nContent-Type: application/problem+json; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
  );
}
