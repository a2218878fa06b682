import { isoTime, periods } from "@jilian/domain/periods.ts";
import { levels } from "@jilian/domain/result.ts";
import { type Static, Type } from "typebox";
import type { ApiDeps, App } from "../app.ts";
import { badCursor, conflicts, decodeCursor, encodeCursor } from "../cursor.ts";
import { readDeviceFigures } from "../device-pages.ts";
import type { Directory } from "../directory.ts";
import {
  demoNotice,
  figureOf,
  figureSchema,
  levelSchema,
  noticeSchema,
  nullable,
  periodSchema,
  timeSchema,
} from "../figures.ts";
import { defaultLimit, defaultSpanMs, maxSpanMs } from "../limits.ts";
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
} from "../read-figures.ts";
import { parseTime, readRange } from "../time-range.ts";

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
const cursorSchema = Type.Object({ q: figureQuerySchema, a: figureKeySchema }, strict);
const pageSchema = Type.Object({
  notice: noticeSchema,
  from: timeSchema,
  to: Type.String({ description: "exclusive; a figure belongs to the range by its start" }),
  figures: Type.Array(figureSchema),
  next: nullable(Type.String({ description: "cursor of the next page; null: nothing more in this range now" })),
});

type Question = { query: FigureQuery; after: FigureKey | undefined };

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
    if (heldFrom >= heldTo || heldTo - heldFrom > maxSpanMs[held.q.period]) faults.push(badCursor);
    if (faults.length > 0) throw invalid(faults);
    return { query: held.q, after: held.a };
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
  return { query, after: undefined };
}

function addMetrics(app: App, deps: ApiDeps, directory: Directory): void {
  const { registry, clock } = deps;
  const schema = { querystring: metricsQuery, response: { 200: pageSchema, "4xx": problemSchema } };
  app.get("/metrics", { schema }, async ({ query: given }) => {
    const nowMs = clock.now();
    const { query, after } = readQuestion(given, nowMs);
    checkIndicator(directory, query.level, query.indicator);
    checkEntity(directory, query.level, query.entity);
    const limit = given.limit ?? defaultLimit;
    const page =
      query.level === "device"
        ? await readDeviceFigures(query, after, limit, nowMs, deps)
        : await readFigures(query, after, limit, deps, directory);
    return {
      notice: registry.demo ? demoNotice : null,
      from: isoTime(query.fromMs),
      to: isoTime(query.toMs),
      figures: page.results.map((result) => figureOf(result, directory)),
      next: page.next ? encodeCursor({ q: query, a: page.next }) : null,
    };
  });
}

const groupLevels = levels.filter((level) => level !== "device");
const latestQuery = Type.Object(
  {
    indicator: Type.Optional(idParameter),
    level: Type.Optional(
      Type.Enum([...groupLevels], {
        description: "figures of devices are made on asking: use /open/v1/metrics for them",
      }),
    ),
    entity: Type.Optional(idParameter),
    period: Type.Optional(periodSchema),
  },
  strict,
);

function addLatest(app: App, deps: ApiDeps, directory: Directory): void {
  const { registry, clock } = deps;
  const latestSchema = Type.Object({ notice: noticeSchema, now: timeSchema, figures: Type.Array(figureSchema) });
  const schema = { querystring: latestQuery, response: { 200: latestSchema, "4xx": problemSchema } };
  app.get("/metrics/latest", { schema }, async ({ query: { indicator, level, entity, period } }) => {
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
      (period ? [period] : periods).map((p) => ({ level: l, period: p })),
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

/** Figures: pages over a range, and the newest of each. */
export function addMetricRoutes(app: App, deps: ApiDeps, directory: Directory): void {
  addMetrics(app, deps, directory);
  addLatest(app, deps, directory);
}
