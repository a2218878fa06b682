import { isoTime, periods } from "@jilian/domain/periods.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import { existsAt, isLogged } from "@jilian/store/spans.ts";
import { type Static, Type } from "typebox";
import type { ApiDeps, App } from "../app.ts";
import { badCursor, conflicts, decodeCursor, encodeCursor } from "../cursor.ts";
import { readDeviceFigures } from "../device-pages.ts";
import type { Directory } from "../directory.ts";
import {
  demoNotice,
  figureOf,
  figureSchema,
  groupLevelSchema,
  groupLevels,
  levelSchema,
  noticeSchema,
  nullable,
  periodSchema,
  timeSchema,
} from "../figures.ts";
import { defaultLimit, defaultSpanMs, maxSpanMs } from "../limits.ts";
import { checkPosition } from "../log-position.ts";
import { checkEntity, checkIndicator } from "../lookup.ts";
import { cursorParameter, idParameter, limitParameter, strict, timeParameter } from "../parameters.ts";
import { invalid, type ParameterFault, problemSchema } from "../problems.ts";
import {
  type FigureKey,
  type FigureQuery,
  figureKeySchema,
  figureQuerySchema,
  latestFigures,
  readFigures,
  readPinnedFigures,
} from "../read-figures.ts";
import { parseTime, readRange } from "../time-range.ts";
import { addComparison } from "./comparison.ts";
import { addHistory } from "./history.ts";

const metricsQuery = Type.Object(
  {
    indicator: Type.Optional(idParameter),
    level: Type.Optional(levelSchema),
    entity: Type.Optional(idParameter),
    period: Type.Optional(periodSchema),
    from: Type.Optional(timeParameter),
    to: Type.Optional(timeParameter),
    limit: Type.Optional(limitParameter),
    cursor: Type.Optional(cursorParameter),
  },
  strict,
);
/** Where the change log stood at the first page: its name and number. */
const pinSchema = Type.Object({ l: Type.String(), c: Type.Integer({ minimum: 0 }) }, strict);
type Pin = Static<typeof pinSchema>;
const cursorSchema = Type.Object({ q: figureQuerySchema, a: figureKeySchema, p: Type.Optional(pinSchema) }, strict);
const pageSchema = Type.Object({
  notice: noticeSchema,
  pinned: Type.Boolean({
    description:
      "true: this page and those its cursor leads to show the figures as they were at `asOfChange`. false for minutes, lines and devices, which are as they are when each page is read",
  }),
  asOfChange: nullable(
    Type.Integer({
      description:
        "place in the change log; null where `pinned` is false. A figure that was provisional there and was looked at again since has a `change` beyond it",
    }),
  ),
  from: timeSchema,
  to: Type.String({ description: "exclusive; a figure belongs to the range by its start" }),
  figures: Type.Array(figureSchema),
  next: nullable(Type.String({ description: "cursor of the next page; null: nothing more in this range now" })),
});

type Question = { query: FigureQuery; after: FigureKey | undefined; pin: Pin | undefined };

/** The whole question: from the parameters and their defaults, or from a cursor that agrees with them. */
function readQuestion(given: Static<typeof metricsQuery>, nowMs: number): Question {
  const faults: ParameterFault[] = [];
  const { indicator, level, entity, period, from, to } = given;
  if (given.cursor !== undefined) {
    const held = decodeCursor(cursorSchema, given.cursor);
    if (!held) throw invalid([badCursor]);
    const fromMs = from === undefined ? undefined : parseTime(from);
    const toMs = to === undefined ? undefined : parseTime(to);
    faults.push(...conflicts({ indicator, level, entity, period, fromMs, toMs }, held.q));
    const { fromMs: heldFrom, toMs: heldTo } = held.q;
    const whole = heldFrom < heldTo && heldTo - heldFrom <= maxSpanMs[held.q.period];
    if (!whole || (held.p !== undefined) !== isLogged(held.q)) faults.push(badCursor);
    if (faults.length > 0) throw invalid(faults);
    return { query: held.q, after: held.a, pin: held.p };
  }
  const asked = { level: level ?? "cluster", period: period ?? "hour" } as const;
  const setting = { nowMs, defaultMs: defaultSpanMs[asked.period], maxMs: maxSpanMs[asked.period] };
  const range = readRange(given, setting, faults);
  if (faults.length > 0) throw invalid(faults);
  const query = {
    ...asked,
    ...range,
    ...(indicator !== undefined && { indicator }),
    ...(entity !== undefined && { entity }),
  };
  return { query, after: undefined, pin: undefined };
}

/** Where the pages of a question stand in the log: where its first page stood. @throws when that is not in this log */
function pinOf(query: FigureQuery, held: Pin | undefined, { ledger }: ApiDeps): Pin | undefined {
  if (!isLogged(query)) return undefined;
  const log = ledger.changeLog();
  if (!held) return { l: log.id, c: log.last };
  checkPosition(log, held.c, held.l);
  return held;
}

function addMetrics(app: App, deps: ApiDeps, directory: Directory): void {
  const { registry, clock } = deps;
  const versions = followVersions(deps.ledger);
  const schema = {
    operationId: "listFigures",
    tags: ["figures"],
    summary: "数据分页查询 · Figures of one level and period, in pages",
    description:
      "Figures ordered by start, entity, indicator. Figures of quarter hours and longer from factory level up are pinned: all pages of a question show them as they were when its first page was read. Minutes and figures of lines and devices are as they are when each page is read; the answer says which. Shifts are those of a factory, its lines and devices; a pilot has figures of days and longer.\n\n按开始时间、对象、指标排序。工厂及以上层级 15 分钟及更长周期的数据在翻页期间保持一致。班次仅有工厂、产线、设备层级；试点层级自日起。",
    querystring: metricsQuery,
    response: { 200: pageSchema, "4xx": problemSchema },
  };
  const config = {
    problems: ["PARAMETER_INVALID", "INDICATOR_UNKNOWN", "ENTITY_UNKNOWN", "CHANGE_AHEAD", "LOG_REPLACED"] as const,
  };
  app.get("/metrics", { schema, config }, async ({ query: given }) => {
    const nowMs = clock.now();
    const { query, after, pin: held } = readQuestion(given, nowMs);
    checkIndicator(directory, query.level, query.indicator);
    checkEntity(directory, query.level, query.entity);
    const limit = given.limit ?? defaultLimit;
    const pin = pinOf(query, held, deps);
    const page = pin
      ? readPinnedFigures(query, after, limit, deps.ledger, pin.c)
      : query.level === "device"
        ? await readDeviceFigures(query, after, limit, nowMs, { ...deps, versions: versions() })
        : await readFigures(query, after, limit, deps, directory);
    return {
      notice: registry.demo ? demoNotice : null,
      pinned: pin !== undefined,
      asOfChange: pin?.c ?? null,
      from: isoTime(query.fromMs),
      to: isoTime(query.toMs),
      figures: page.results.map((result) => figureOf(result, directory)),
      next: page.next ? encodeCursor({ q: query, a: page.next, ...(pin && { p: pin }) }) : null,
    };
  });
}

const latestQuery = Type.Object(
  {
    indicator: Type.Optional(idParameter),
    level: Type.Optional(groupLevelSchema),
    entity: Type.Optional(idParameter),
    period: Type.Optional(periodSchema),
  },
  strict,
);

function addLatest(app: App, deps: ApiDeps, directory: Directory): void {
  const { registry, clock } = deps;
  const latestSchema = Type.Object({ notice: noticeSchema, now: timeSchema, figures: Type.Array(figureSchema) });
  const schema = {
    operationId: "latestFigures",
    tags: ["figures"],
    summary: "最新数据 · The newest figure of each indicator, entity and period",
    description:
      "From the line up, the newest look of live memory included. It looks back 15 minutes for minutes, 4 hours for quarter hours, a day for hours, 8 days for shifts and days, and some periods for longer ones.\n\n产线及以上层级每个指标、对象、周期的最新数据。",
    querystring: latestQuery,
    response: { 200: latestSchema, "4xx": problemSchema },
  };
  const config = { problems: ["PARAMETER_INVALID", "INDICATOR_UNKNOWN", "ENTITY_UNKNOWN"] as const };
  app.get("/metrics/latest", { schema, config }, async ({ query: { indicator, level, entity, period } }) => {
    const nowMs = clock.now();
    checkIndicator(directory, level, indicator);
    if (entity !== undefined && level === undefined) {
      const remedy = "add `level`: enterprises and factories may share an id";
      throw invalid([
        { parameter: "level", found: "nothing", expected: `one of ${groupLevels.join(", ")} beside an entity`, remedy },
      ]);
    }
    if (level) checkEntity(directory, level, entity);
    const asked = (level ? [level] : groupLevels).flatMap((l) =>
      (period ? [period] : periods).filter((p) => existsAt(l, p)).map((p) => ({ level: l, period: p })),
    );
    const found = await Promise.all(
      asked.map((one) => latestFigures({ ...one, indicator, entity }, nowMs, deps, directory)),
    );
    return {
      notice: registry.demo ? demoNotice : null,
      now: isoTime(nowMs),
      figures: found.flat().map((result) => figureOf(result, directory)),
    };
  });
}

/** Figures: pages over a range, the newest of each, the revisions of one, and two periods beside each other. */
export function addMetricRoutes(app: App, deps: ApiDeps, directory: Directory): void {
  addMetrics(app, deps, directory);
  addLatest(app, deps, directory);
  addHistory(app, deps, directory);
  addComparison(app, deps, directory);
}
