import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { hourMs, minuteMs, periodStart } from "@jilian/domain/periods.ts";
import type { FirstBirth } from "@jilian/store/ledger.ts";
import type { FastifyReply, onRequestHookHandler } from "fastify";
import type { ApiDeps, App } from "../app.ts";
import type { ApiConfig } from "../config.ts";
import type { Directory } from "../directory.ts";
import { problemSchema } from "../problems.ts";
import type { FoundResult } from "../read-figures.ts";
import { shareFor } from "../share.ts";
import { wallMinutes, wallState, wallStateSchema } from "../wall-state.ts";

const folder = join(import.meta.dirname, "..", "wall");
const files: readonly (readonly [url: string, file: string, type: string])[] = [
  ["/", "index.html", "text/html; charset=utf-8"],
  ["/wall/wall.css", "wall.css", "text/css; charset=utf-8"],
  ["/wall/wall.js", "wall.js", "text/javascript; charset=utf-8"],
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

type Stored = { results: FoundResult[]; firstBirths: FirstBirth[] };

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
    ledger.readResults({ ...day, level: "factory", indicator: electricity, limit: registry.factories.size * 2 }),
  ];
  return { results: [...found.flat(), ...ofLedger.flat()], firstBirths: ledger.firstBirths() };
}

/** The wall page and the one document it shows. The document needs a key unless the wall is public. */
export function addWallRoutes(
  app: App,
  config: ApiConfig,
  deps: ApiDeps,
  directory: Directory,
  checkKey: onRequestHookHandler,
): void {
  addFiles(app);
  const { registry, live, clock } = deps;
  const { title, operator } = config.wall;
  const shareStored = shareFor(Math.max(leastStoredMs, storedMs / clock.rate), () => readStored(deps, directory));
  const shareDocument = shareFor(documentMs, async () => {
    const { results: stored, firstBirths } = await shareStored();
    const setting = { nowMs: clock.now(), clockRate: clock.rate, title, operator };
    return JSON.stringify(wallState({ registry, directory, live, stored, firstBirths, ...setting }));
  });
  const schema = { response: { 200: wallStateSchema, "4xx": problemSchema } };
  const onRequest = config.wall.public ? [] : [checkKey];
  app.get("/wall/state", { schema, onRequest }, async (_request, reply: FastifyReply) => {
    return reply.type("application/json; charset=utf-8").send(await shareDocument());
  });
}
