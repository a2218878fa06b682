import { createHmac, randomBytes } from "node:crypto";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { FastifyReply, FastifyRequest, onRequestHookHandler } from "fastify";
import type { App } from "./app.ts";
import { problem } from "./problems.ts";

/** On every answer, errors included. No CORS: a page of another origin reads nothing here. */
export const securityHeaders = {
  // Nothing inline, nothing from elsewhere: what a browser runs and shows here is what this folder holds.
  "content-security-policy":
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "SAMEORIGIN",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
  // Figures change and belong to whom they were given to.
  "cache-control": "no-store",
} as const;

export function addSecurityHeaders(app: App): void {
  app.addHook("onRequest", async (_request, reply) => {
    reply.headers(securityHeaders);
  });
}

/** `name.secret`; anything else is refused without work. */
const keyShape = /^[a-z0-9][a-z0-9._-]{0,63}\.[^\s.]{8,256}$/;
const maxRemembered = 1024;
/** Checks of keys not seen before, a second: each costs the process some milliseconds, in which nothing else runs. */
const checksPerSecond = 20;

function keyOf(request: FastifyRequest): string | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
  const header = request.headers["x-api-key"];
  return bearer ?? (typeof header === "string" && header !== "" ? header : undefined);
}

function refuse(reply: FastifyReply, challenge: string, detail: string): never {
  reply.header("www-authenticate", challenge);
  throw problem({
    code: "UNAUTHORIZED",
    status: 401,
    detail,
    remedy: "send `Authorization: Bearer name.secret` or `X-API-Key: name.secret`",
  });
}

const challenge = 'Bearer realm="jilian"';
const badKey = `${challenge}, error="invalid_token"`;

/** Logs refusals once a second at most; those between are counted in the next line. */
function refusalLog(): (request: FastifyRequest) => void {
  let heldBack = 0;
  let toldAtMs = Number.NEGATIVE_INFINITY;
  return (request) => {
    const nowMs = performance.now();
    if (nowMs - toldAtMs < 1000) {
      heldBack += 1;
      return;
    }
    request.log.warn({ remote: request.ip, route: request.routeOptions.url, heldBack }, "API key refused");
    [toldAtMs, heldBack] = [nowMs, 0];
  };
}

/**
 * A hook that lets in who holds an API key, `Authorization: Bearer name.secret` or `X-API-Key`. Guessing is slowed for the whole process,
 * while keys that were right before stay quick; the ledger still decides each time, so a withdrawn key ends at once. Keys are never logged.
 */
export function createKeyCheck(ledger: Ledger): onRequestHookHandler {
  const processKey = randomBytes(32);
  const rightOnce = new Set<string>();
  const logRefusal = refusalLog();
  let windowEndMs = 0;
  let left = checksPerSecond;

  return async (request, reply) => {
    const key = keyOf(request);
    if (key === undefined) refuse(reply, challenge, "no API key was sent");
    if (!keyShape.test(key)) refuse(reply, badKey, "the API key is not of the form name.secret");
    const digest = createHmac("sha256", processKey).update(key).digest("base64");
    if (!rightOnce.has(digest)) {
      const nowMs = performance.now();
      if (nowMs >= windowEndMs) [windowEndMs, left] = [nowMs + 1000, checksPerSecond];
      if (left === 0) {
        reply.header("retry-after", "1");
        throw problem({
          code: "TOO_MANY_KEYS",
          status: 429,
          detail: "too many new keys in a second",
          remedy: "try again later",
        });
      }
      left -= 1;
    }
    if (ledger.authenticateKey(key)?.kind !== "api") {
      rightOnce.delete(digest);
      logRefusal(request);
      refuse(reply, badKey, "the API key is wrong or withdrawn");
    }
    if (rightOnce.size >= maxRemembered) rightOnce.delete(rightOnce.values().next().value as string);
    rightOnce.add(digest);
  };
}
