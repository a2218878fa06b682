import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { hourMs, minuteMs, periodStart } from "@jilian/domain/periods.ts";
import type { FirstBirth } from "@jilian/store/ledger.ts";
import type { FastifyReply } from "fastify";
import { Type } from "typebox";
import type { ApiDeps, App } from "../app.ts";
import type { ApiConfig } from "../config.ts";
import type { Directory } from "../directory.ts";
import { claimPlace, openEventStream } from "../event-stream.ts";
import { problemSchema } from "../problems.ts";
import type { FoundResult } from "../read-figures.ts";
import type { KeyCheck } from "../security.ts";
import { shareFor } from "../share.ts";
import type { Stats } from "../stats.ts";
import { createWallFeed, type WallDocument } from "../wall-feed.ts";
import { type WallAlarms, wallAlarms, wallKpis, wallMinutes, wallState, wallStateSchema } from "../wall-state.ts";

const folder = join(import.meta.dirname, "..", "wall");
const files: readonly (readonly [url: string, file: string, type: string])[] = [
  ["/", "index.html", "text/html; charset=utf-8"],
  ["/wall/wall.css", "wall.css", "text/css; charset=utf-8"],
  ["/wall/wall.js", "wall.js", "text/javascript; charset=utf-8"],
  ["/wall/stream.js", "stream.js", "text/javascript; charset=utf-8"],
  ["/wall/view.js", "view.js", "text/javascript; charset=utf-8"],
  ["/wall/text.js", "text.js", "text/javascript; charset=utf-8"],
  ["/wall/icon.svg", "icon.svg", "image/svg+xml; charset=utf-8"],
];

/** The page itself, by a closed list of files: no path of a request ever reaches the file system. It holds no data and needs no key. */
function addFiles(app: App): void {
  for (const [url, file, type] of files) {
    const body = readFileSync(join(folder, file));
    const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
    app.get(url, async (request, reply) => {
      reply.headers({ "cache-control": "no-cache", etag });
      if (request.headers["if-none-match"] === etag) return reply.code(304).send();
      return reply.type(type).send(body);
    });
  }
}

type Stored = { results: FoundResult[]; firstBirths: FirstBirth[]; alarms: WallAlarms };

/** How long all displays share one look at the stores, on the platform's clock; what is newest is in live memory anyway. */
const storedMs = 5000;
const leastStoredMs = 250;
/** How long they share one document, on the machine's: with 4,000 devices it is a megabyte, and costs as much as many messages. */
const documentMs = 500;

/** Stored figures that the wall needs beside live memory. */
async function readStored({ telemetry, ledger, registry, clock }: ApiDeps, directory: Directory): Promise<Stored> {
  const nowMs = clock.now();
  const openMs = periodStart("minute", nowMs);
  const minutes = { period: "minute", fromMs: openMs - wallMinutes * minuteMs, toMs: nowMs + 1 } as const;
  const rows = (wallMinutes + 1) * directory.indicators.size;
  const electricity = "energy.electricity";
  const hour = { period: "hour", fromMs: periodStart("hour", nowMs), toMs: nowMs + hourMs } as const;
  const day = { period: "day", fromMs: periodStart("day", nowMs), toMs: nowMs + hourMs } as const;
  const found = await Promise.all([
    telemetry.readMinuteResults({ ...minutes, level: "cluster", limit: rows }),
    telemetry.readMinuteResults({
      ...minutes,
      level: "factory",
      indicator: electricity,
      limit: registry.factories.size * rows,
    }),
  ]);
  const ofLedger = [
    ledger.readResults({ ...hour, level: "cluster", limit: rows }),
    ledger.readResults({ ...day, level: "cluster", limit: rows }),
    ...[electricity, ...wallKpis].map((indicator) =>
      ledger.readResults({ ...day, level: "factory", indicator, limit: registry.factories.size * 2 }),
    ),
  ];
  const alarms: WallAlarms = { counts: ledger.alarmCounts(), open: ledger.openAlarms(wallAlarms) };
  return { results: [...found.flat(), ...ofLedger.flat()], firstBirths: ledger.firstBirths(), alarms };
}

/** Makes the document at most twice a second, for all who ask. */
function shareWallDocument(
  { wall: { title, operator } }: ApiConfig,
  deps: ApiDeps,
  directory: Directory,
): () => Promise<WallDocument> {
  const { registry, live, clock } = deps;
  const shareStored = shareFor(Math.max(leastStoredMs, storedMs / clock.rate), () => readStored(deps, directory));
  return shareFor(documentMs, async () => {
    const { results: stored, firstBirths, alarms } = await shareStored();
    const setting = { nowMs: clock.now(), clockRate: clock.rate, title, operator };
    const { nowMs, ...rest } = wallState({ registry, directory, live, stored, firstBirths, alarms, ...setting });
    return { nowMs, rest: JSON.stringify(rest) };
  });
}

function textOf({ nowMs, rest }: WallDocument): string {
  return `{"nowMs":${nowMs},${rest.slice(1)}`;
}

type WallParts = {
  config: ApiConfig;
  deps: ApiDeps;
  directory: Directory;
  keys: KeyCheck;
  stats: Stats;
  ended: AbortSignal;
};

/** The wall page, the one document it shows, and the stream of it. Both need a key unless the wall is public. */
export function addWallRoutes(app: App, { config, deps, directory, keys, stats, ended }: WallParts): void {
  addFiles(app);
  const document = shareWallDocument(config, deps, directory);
  const onRequest = config.wall.public ? [] : [keys.hook];
  const either = [{ bearer: [] }, { apiKey: [] }, {}];
  const state = {
    operationId: "getWallState",
    tags: ["wall"],
    summary: "大屏数据 · The one document that the wall page shows; without a key where api.wall.public is true",
    security: either,
    response: { 200: wallStateSchema, "4xx": problemSchema },
  };
  app.get("/wall/state", { schema: state, onRequest }, async (_request, reply: FastifyReply) => {
    return reply.type("application/json; charset=utf-8").send(textOf(await document()));
  });

  const feed = createWallFeed(document, textOf, deps.log);
  const stream = {
    operationId: "streamWallState",
    tags: ["wall"],
    summary: "大屏数据推送（SSE）· The wall's document as it changes, as server-sent events",
    description:
      "An event `state` with the whole document when something in it has changed, at most once a second; else an event `now` with `nowMs` each second. What a display has no time for is left out: the next one is newer.\n\n内容变化时推送 `state`（每秒至多一次），否则每秒推送 `now`。",
    security: either,
    produces: ["text/event-stream"],
    response: { 200: Type.String({ description: "text/event-stream" }), "4xx": problemSchema, "5xx": problemSchema },
  };
  const routeConfig = { problems: ["TOO_MANY_STREAMS"] as const };
  app.get(
    "/wall/stream",
    { schema: stream, config: routeConfig, onRequest, exposeHeadRoute: false },
    async (request, reply) => {
      claimPlace("walls", config.maxStreams, stats, reply);
      const display = openEventStream(request, reply, { stats, ended });
      const mayLook = () => config.wall.public || keys.stillHolds(request);
      feed.show(display, mayLook).finally(() => {
        display.end();
        stats.closed("walls");
      });
      return reply;
    },
  );
}
