import type { LoggedResult } from "@jilian/store/ledger.ts";
import type { FastifyReply } from "fastify";
import { type Static, Type } from "typebox";
import type { ApiDeps, App } from "../app.ts";
import type { ChangeFeed } from "../change-feed.ts";
import type { Directory } from "../directory.ts";
import { claimPlace } from "../event-stream.ts";
import { demoNotice, figureOf, groupLevels, loggedFigureSchema, loggedLevelSchema, noticeSchema } from "../figures.ts";
import { defaultLimit } from "../limits.ts";
import { checkPosition } from "../log-position.ts";
import { checkEntity, checkIndicator } from "../lookup.ts";
import { idParameter, limitParameter, logParameter, positionParameter, strict } from "../parameters.ts";
import { invalid, problemSchema } from "../problems.ts";
import type { KeyCheck } from "../security.ts";
import type { Stats } from "../stats.ts";

/** What the routes of the change log share. */
export type LogParts = ApiDeps & {
  directory: Directory;
  feed: ChangeFeed;
  stats: Stats;
  keys: KeyCheck;
  maxStreams: number;
};

/** Which changes are wanted; the position goes on over all of them. */
export const logFilter = {
  indicator: Type.Optional(idParameter),
  level: Type.Optional(loggedLevelSchema),
  entity: Type.Optional(idParameter),
};
const filterSchema = Type.Object(logFilter);
export type LogFilter = Static<typeof filterSchema>;

/** @throws what is wrong with a filter */
export function checkFilter({ indicator, level, entity }: LogFilter, directory: Directory): void {
  checkIndicator(directory, level, indicator);
  if (entity !== undefined && level === undefined) {
    const expected = `one of ${groupLevels.join(", ")} beside an entity`;
    const remedy = "add `level`: enterprises and factories may share an id";
    throw invalid([{ parameter: "level", found: "nothing", expected, remedy }]);
  }
  if (level) checkEntity(directory, level, entity);
}

/** True for changes that a filter wants. */
export function wants({ indicator, level, entity }: LogFilter): (change: LoggedResult) => boolean {
  return (change) =>
    (indicator === undefined || change.indicator === indicator) &&
    (level === undefined || change.level === level) &&
    (entity === undefined || change.entity === entity);
}

/** What a question to the change log, asked or followed, can be refused with. */
export const logProblems = [
  "PARAMETER_INVALID",
  "INDICATOR_UNKNOWN",
  "ENTITY_UNKNOWN",
  "CHANGE_AHEAD",
  "LOG_REPLACED",
  "TOO_MANY_STREAMS",
] as const;

/** Rows that one answer looks at: a filter that wants few must not make one answer read a log of millions. */
const maxScanned = 10_000;
const stepRows = 1000;

/** Changes after a position that a filter wants, and how far it looked. */
function collect(feed: ChangeFeed, after: number, limit: number, wanted: (change: LoggedResult) => boolean) {
  const found: LoggedResult[] = [];
  let next = after;
  let atEnd = false;
  for (let scanned = 0; scanned < maxScanned && !atEnd; scanned += stepRows) {
    const step = feed.read(next, stepRows);
    for (const change of step.changes) {
      if (wanted(change)) {
        if (found.length === limit) return { found, next, atEnd: false };
        found.push(change);
      }
      next = change.change;
    }
    next = step.next;
    atEnd = step.atEnd;
  }
  return { found, next, atEnd };
}

const changesQuery = Type.Object(
  {
    after: Type.Optional(positionParameter),
    log: Type.Optional(logParameter),
    limit: Type.Optional(limitParameter),
    wait: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 30,
        description: "seconds to wait while there is nothing new; 0 if absent 无新变更时等待的秒数",
      }),
    ),
    ...logFilter,
  },
  strict,
);
const changesSchema = Type.Object({
  notice: noticeSchema,
  log: Type.String({ description: "name of this change log; give it back as `log`" }),
  changes: Type.Array(loggedFigureSchema, { description: "in the order of `change`" }),
  next: Type.Integer({ description: "give it as `after` next time" }),
  last: Type.Integer({ description: "number of the last change that there is now" }),
});

/** A signal that is aborted when the client goes away. */
function clientGone(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once("close", () => gone.abort());
  return gone.signal;
}

/** The change log from a position, with a wait for what comes next. */
export function addChangeRoutes(app: App, parts: LogParts): void {
  const { registry, directory, feed, stats, keys, maxStreams } = parts;
  const schema = {
    operationId: "listChanges",
    tags: ["changes"],
    summary: "数据变更日志 · Changes of figures, in order",
    description:
      "Every new, final and revised figure of quarter hours and longer, factory level and up, in the order in which the platform wrote them. Ask with `after` = `next` of the answer before: nothing is missed and nothing comes twice. A provisional look that was replaced is left out; its number does not come.\n\n按写入顺序列出工厂及以上层级的一刻钟及更长周期指标的每次新增、成为最终值与修订。以上次应答的 `next` 作为 `after` 继续，不漏不重。",
    querystring: changesQuery,
    response: { 200: changesSchema, "4xx": problemSchema, "5xx": problemSchema },
  };
  const config = { problems: logProblems };
  app.get("/changes", { schema, config }, async (request, reply) => {
    const { after = 0, log, limit = defaultLimit, wait = 0, ...filter } = request.query;
    checkFilter(filter, directory);
    checkPosition(feed.log(), after, log);
    const wanted = wants(filter);
    let { found, next, atEnd } = collect(feed, after, limit, wanted);
    if (wait > 0 && found.length === 0 && atEnd) {
      claimPlace("waiters", maxStreams, stats, reply);
      try {
        const signal = clientGone(reply);
        const untilMs = performance.now() + wait * 1000;
        for (let leftMs = wait * 1000; leftMs > 0 && found.length === 0; leftMs = untilMs - performance.now()) {
          if ((await feed.grownBeyond(next, { timeoutMs: leftMs, signal })) !== "grown") break;
          ({ found, next, atEnd } = collect(feed, next, limit, wanted));
        }
      } finally {
        stats.closed("waiters");
      }
      // Half a minute is long enough for a key to be withdrawn.
      keys.recheck(request, reply);
    }
    stats.count("sentChanges", found.length);
    const { id, last } = feed.log();
    const changes = found.map((change) => ({ ...figureOf(change, directory), change: change.change }));
    return { notice: registry.demo ? demoNotice : null, log: id, changes, next, last };
  });
}
