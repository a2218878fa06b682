import type { App } from "./app.ts";

/** Requests of one route, method and status. The route is its pattern, `none` where nothing is served: few lines whatever is asked. */
export type RequestCount = { route: string; method: string; status: number; count: number; elapsedMs: number };

export type ApiStats = {
  requests: RequestCount[];
  /** Streams of changes, displays of the wall, and questions that wait for a change: open now. */
  open: Record<OpenKind, number>;
  /** Since the start. */
  counts: Record<CountName, number>;
};

export type OpenKind = "streams" | "walls" | "waiters";
export type CountName =
  /** Keys that were wrong, withdrawn or malformed. */
  | "refusedKeys"
  /** Keys that were not checked because too many new ones came. */
  | "uncheckedKeys"
  /** Enrolments and renewals of gateways that were refused. */
  | "refusedEnrolments"
  /** Streams and waiting questions refused beyond `api.maxStreams`. */
  | "refusedStreams"
  /** Streams ended because their client did not read. */
  | "stalledStreams"
  /** Changes sent on streams and in answers to `/changes`. */
  | "sentChanges"
  /** Bytes that were no HTTP request. */
  | "malformedRequests";

/** Counters of the API of one process. */
export type Stats = {
  readonly count: (name: CountName, by?: number) => void;
  readonly opened: (kind: OpenKind) => void;
  readonly closed: (kind: OpenKind) => void;
  readonly openNow: (kind: OpenKind) => number;
  readonly request: (route: string, method: string, status: number, elapsedMs: number) => void;
  readonly read: () => ApiStats;
};

export function createStats(): Stats {
  const open: ApiStats["open"] = { streams: 0, walls: 0, waiters: 0 };
  const counts: ApiStats["counts"] = {
    refusedKeys: 0,
    uncheckedKeys: 0,
    refusedEnrolments: 0,
    refusedStreams: 0,
    stalledStreams: 0,
    sentChanges: 0,
    malformedRequests: 0,
  };
  const requests = new Map<string, RequestCount>();
  return {
    count: (name, by = 1) => {
      counts[name] += by;
    },
    opened: (kind) => {
      open[kind] += 1;
    },
    closed: (kind) => {
      open[kind] -= 1;
    },
    openNow: (kind) => open[kind],
    request: (route, method, status, elapsedMs) => {
      const key = `${method} ${route} ${status}`;
      const known = requests.get(key) ?? { route, method, status, count: 0, elapsedMs: 0 };
      known.count += 1;
      known.elapsedMs += elapsedMs;
      requests.set(key, known);
    },
    read: () => ({ requests: [...requests.values()].map((r) => ({ ...r })), open: { ...open }, counts: { ...counts } }),
  };
}

/** Methods that are told apart; whatever else a client sends is `other`, so that clients cannot make lines. */
const methods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** Counts every answer when it is done; a stream when it ends. */
export function countRequests(app: App, stats: Stats): void {
  app.addHook("onResponse", async (request, reply) => {
    const method = methods.has(request.method) ? request.method : "other";
    stats.request(request.routeOptions.url ?? "none", method, reply.statusCode, reply.elapsedTime);
  });
}
