/** State of one part of a program as its health answer shows it. Text and numbers only, and never a secret. */
export type Part = {
  /** False when the part cannot do its work now: then `reason` says why. */
  ready: boolean;
  /** One word: `listening`, `connected`, `waiting`. */
  state: string;
  reason?: string;
  detail?: Readonly<Record<string, string | number | boolean | null>>;
};

export type Parts = Readonly<Record<string, Part>>;

/** What a program tells about itself over its ops address. Both may be asked often; `answerOps` never asks twice at once. */
export type OpsSource = {
  readonly health: () => Promise<Parts>;
  /** Prometheus text exposition format 0.0.4. */
  readonly metrics: () => Promise<string>;
  /** More addresses, answered to this machine alone: what they tell is not for whoever reaches a wider `ops.host`. */
  readonly local?: Readonly<Record<string, (query: URLSearchParams) => OpsAnswer>>;
};

export type OpsAnswer = { status: number; headers: Readonly<Record<string, string>>; body: string };

/** How long a part may take to answer before it counts as one that does not. */
export const answerBoundMs = 2000;

const common = { "cache-control": "no-store", "x-content-type-options": "nosniff" };

/** @param body one line, without its end */
export function textAnswer(status: number, body: string, headers: Readonly<Record<string, string>> = {}): OpsAnswer {
  return { status, headers: { ...common, "content-type": "text/plain; charset=utf-8", ...headers }, body: `${body}\n` };
}

export function jsonAnswer(status: number, body: unknown): OpsAnswer {
  return {
    status,
    headers: { ...common, "content-type": "application/json; charset=utf-8" },
    body: JSON.stringify(body),
  };
}

/** The answer of `/health/ready`: 200 when every part is ready, else 503 with the reasons. */
export function readiness(parts: Parts): OpsAnswer {
  const reasons = Object.entries(parts)
    .filter(([, part]) => !part.ready)
    .map(([name, part]) => `${name}: ${part.reason ?? part.state}`);
  return jsonAnswer(reasons.length === 0 ? 200 : 503, {
    status: reasons.length === 0 ? "ready" : "not ready",
    reasons,
    parts,
  });
}

/** One run for all who ask while it runs: many requests cost no more than one. */
function shared<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= work().finally(() => {
      running = undefined;
    });
    return running;
  };
}

/** The promise, or a rejection after `ms`. */
export async function within<T>(work: Promise<T>, ms: number, what: string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`${what}: no answer within ${ms} ms`)), ms);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Who asks. */
export type OpsClient = {
  /** From this machine. */
  readonly isLocal: boolean;
  /** Why it only seems to be, where the address is meant for this machine alone: then there is only the health for it. */
  readonly foreign?: string | undefined;
};

const isHealth = (path: string): boolean => path.startsWith("/health/");

/**
 * Answers a request to the ops address; the servers of both programs only carry it. `/health/live`: this process answers; `/health/ready`:
 * 503 with reasons when a part is not; `/metrics`; and what a program has for its own machine. Everything is read-only: other methods are
 * refused.
 */
export function opsAnswers(source: OpsSource): (method: string, url: string, client?: OpsClient) => Promise<OpsAnswer> {
  const health = shared(async () => readiness(await within(source.health(), answerBoundMs, "health")));
  const metrics = shared(async () => {
    const body = await within(source.metrics(), answerBoundMs, "metrics");
    return { status: 200, headers: { ...common, "content-type": "text/plain; version=0.0.4; charset=utf-8" }, body };
  });
  const routes = new Map<string, () => Promise<OpsAnswer>>([
    ["/health/live", async () => jsonAnswer(200, { status: "live" })],
    ["/health/ready", health],
    ["/metrics", metrics],
  ]);
  const locals = new Map(Object.entries(source.local ?? {}));
  return async (method, url, client = { isLocal: false }) => {
    const [path = "", query = ""] = url.split("?", 2);
    const local = locals.get(path);
    const route = local === undefined ? routes.get(path) : async () => local(new URLSearchParams(query));
    if (!route) return textAnswer(404, `not found; there are ${[...routes.keys(), ...locals.keys()].join(", ")}`);
    if (method !== "GET" && method !== "HEAD") return textAnswer(405, "only GET and HEAD", { allow: "GET, HEAD" });
    const foreign = isHealth(path) ? undefined : client.foreign;
    if (foreign !== undefined || (local && !client.isLocal)) {
      const why = client.foreign === undefined ? "" : `; ${client.foreign}`;
      return textAnswer(403, `${path} is answered to this machine alone: ask 127.0.0.1 on it${why}`);
    }
    try {
      return await route();
    } catch (thrown) {
      return textAnswer(503, thrown instanceof Error ? thrown.message : String(thrown));
    }
  };
}
