import { createHmac, randomBytes } from "node:crypto";
import type { Ledger, Principal } from "@jilian/store/ledger.ts";
import type { FastifyReply, FastifyRequest, onRequestHookHandler } from "fastify";
import { problem } from "./problems.ts";
import type { Stats } from "./stats.ts";

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

export type KeyCheck = {
  /** Lets in who holds a key of this kind, `Authorization: Bearer name.secret` or `X-API-Key`. */
  readonly hook: onRequestHookHandler;
  /** Whether the key that a request came with still counts: what stays open is asked again and again. */
  readonly stillHolds: (request: FastifyRequest) => boolean;
  /** Whose key a request came with that the hook let in. */
  readonly nameOf: (request: FastifyRequest) => string;
  /** @throws a 401 when it does not */
  readonly recheck: (request: FastifyRequest, reply: FastifyReply) => void;
};

/**
 * Checks keys of one kind: those of the open data interface, or of operators; neither opens the other's door. Guessing is slowed for the whole process, while keys that were right before stay quick; the ledger still decides each
 * time, so a withdrawn key ends at once. Keys are never logged.
 */
export function createKeyCheck(
  ledger: Ledger,
  stats: Pick<Stats, "count">,
  kind: "api" | "operator" = "api",
): KeyCheck {
  const called = kind === "api" ? "the API key" : "the operator key";
  const processKey = randomBytes(32);
  const rightOnce = new Set<string>();
  const logRefusal = refusalLog();
  let windowEndMs = 0;
  let left = checksPerSecond;

  /** Takes one of the checks of this second; false when none is left. */
  function mayCheck(): boolean {
    const nowMs = performance.now();
    if (nowMs >= windowEndMs) [windowEndMs, left] = [nowMs + 1000, checksPerSecond];
    if (left === 0) return false;
    left -= 1;
    return true;
  }

  function principalOf(key = ""): Principal | undefined {
    const principal = ledger.authenticateKey(key, kind);
    return principal?.kind === kind ? principal : undefined;
  }

  const hook: onRequestHookHandler = async (request, reply) => {
    const key = keyOf(request);
    if (key === undefined) refuse(reply, challenge, `${called} was not sent`);
    if (!keyShape.test(key)) {
      stats.count("refusedKeys");
      refuse(reply, badKey, `${called} is not of the form name.secret`);
    }
    const digest = createHmac("sha256", processKey).update(key).digest("base64");
    if (!rightOnce.has(digest) && !mayCheck()) {
      stats.count("uncheckedKeys");
      reply.header("retry-after", "1");
      const detail = "too many new keys in a second";
      throw problem({ code: "TOO_MANY_KEYS", status: 429, detail, remedy: "try again later" });
    }
    if (!principalOf(key)) {
      rightOnce.delete(digest);
      stats.count("refusedKeys");
      logRefusal(request);
      refuse(reply, badKey, `${called} is wrong or withdrawn`);
    }
    if (rightOnce.size >= maxRemembered) rightOnce.delete(rightOnce.values().next().value as string);
    rightOnce.add(digest);
  };

  const stillHolds = (request: FastifyRequest) => principalOf(keyOf(request)) !== undefined;
  return {
    hook,
    stillHolds,
    nameOf: (request) => principalOf(keyOf(request))?.name ?? "",
    recheck: (request, reply) => {
      if (!stillHolds(request)) refuse(reply, badKey, `${called} was withdrawn`);
    },
  };
}
