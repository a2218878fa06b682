import { once } from "node:events";
import type { FastifyReply, FastifyRequest } from "fastify";
import { problem } from "./problems.ts";
import type { OpenKind, Stats } from "./stats.ts";

/** Server-sent events (WHATWG HTML, 9.2) on one connection. */
export type EventStream = {
  /** Aborted when the client went away, did not read, or the stream was ended. */
  readonly signal: AbortSignal;
  /**
   * Sends text and waits until the client's side has taken it, so that no more than one text is ever held for it. A client that does not
   * read within `stallMs` is disconnected; it comes back with the id of what it got.
   */
  readonly send: (text: string) => Promise<void>;
  readonly end: () => void;
};

/** How soon a client comes back after a stream has ended, told to it. */
export const retryMs = 2000;
/** A stream that has nothing to say says so, that proxies and clients know it lives. */
export const keepAliveMs = 15_000;
const stallMs = 20_000;

/** One event. `data` is one line of JSON; an event without `data` only moves the client's last id on. */
export function eventText(event: { id?: number; event?: string; data?: string }): string {
  const lines = Object.entries(event).map(([field, value]) => `${field}: ${value}\n`);
  return `${lines.join("")}\n`;
}

/** Refuses beyond a number of open ones. @throws a 503 with the moment to come back */
export function claimPlace(kind: OpenKind, most: number, stats: Stats, reply: FastifyReply): void {
  if (stats.openNow(kind) < most) {
    stats.opened(kind);
    return;
  }
  stats.count("refusedStreams");
  reply.header("retry-after", "10");
  throw problem({
    code: "TOO_MANY_STREAMS",
    status: 503,
    detail: `${most} are open, as many as this platform serves at once`,
    remedy: "close those no longer read, ask /open/v1/changes without `wait`, or raise api.maxStreams",
  });
}

/** Turns an answer into a stream of events. Everything that can be refused must have been refused before. */
export function openEventStream(
  request: FastifyRequest,
  reply: FastifyReply,
  { stats, ended, stallAfterMs = stallMs }: { stats: Stats; ended: AbortSignal; stallAfterMs?: number },
): EventStream {
  const { raw } = reply;
  const closing = new AbortController();
  reply.hijack();
  const end = () => {
    closing.abort();
    if (!raw.writableEnded) raw.end();
  };
  raw.on("close", () => closing.abort());
  raw.on("error", () => closing.abort());
  ended.addEventListener("abort", end, { signal: closing.signal });
  // A proxy that collects an answer before it passes it on would make of a stream an answer that never comes.
  const own = { "content-type": "text/event-stream", "x-accel-buffering": "no" };
  raw.writeHead(200, { ...(reply.getHeaders() as Record<string, string>), ...own });
  raw.flushHeaders();

  async function send(text: string): Promise<void> {
    if (closing.signal.aborted || raw.write(text)) return;
    const limit = setTimeout(() => {
      stats.count("stalledStreams");
      request.log.warn(
        { remote: request.ip, route: request.routeOptions.url },
        "stream ended: its client did not read",
      );
      raw.destroy();
    }, stallAfterMs);
    await once(raw, "drain", { signal: closing.signal }).catch(() => undefined);
    clearTimeout(limit);
  }

  return { signal: closing.signal, send, end };
}
