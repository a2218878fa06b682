import { DataType, type DataTypeNumber, type Value } from "@jilian/domain/datatypes.ts";
import { decimalOf, formatDecimal } from "@jilian/domain/decimal.ts";
import { isoTime } from "@jilian/domain/periods.ts";
import { qualityOf, statusName } from "@jilian/domain/quality.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { definitionAt } from "@jilian/store/series-versions.ts";
import type { Series, StoredRow, Telemetry } from "@jilian/store/telemetry.ts";
import { type Static, Type } from "typebox";
import type { ApiDeps, App } from "../app.ts";
import { badCursor, conflicts, decodeCursor, encodeCursor } from "../cursor.ts";
import { demoNotice, noticeSchema, nullable, timeSchema } from "../figures.ts";
import { defaultLimit, defaultReadingsSpanMs, maxReadingsSpanMs } from "../limits.ts";
import { cursorParameter, limitParameter, strict, timeParameter } from "../parameters.ts";
import { invalid, type ParameterFault, problem, problemSchema } from "../problems.ts";
import { parseTime, readRange } from "../time-range.ts";

const readingsQuery = Type.Object(
  {
    device: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: "factory/gateway/device" })),
    metric: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200, description: "name of the metric in the device's birth" }),
    ),
    from: Type.Optional(timeParameter),
    to: Type.Optional(timeParameter),
    limit: Type.Optional(limitParameter),
    cursor: Type.Optional(cursorParameter),
  },
  strict,
);
const questionSchema = Type.Object(
  {
    device: Type.String(),
    metric: Type.String(),
    fromMs: Type.Integer({ minimum: 0 }),
    toMs: Type.Integer({ minimum: 0 }),
  },
  strict,
);
type Question = Static<typeof questionSchema>;
const cursorSchema = Type.Object({ q: questionSchema, a: Type.Integer({ minimum: 0 }) }, strict);

const readingSchema = Type.Object({
  time: Type.String({ description: "source time: with the series the identity of a reading" }),
  value: nullable(Type.String({ description: "decimal string from the value's native width; true, false; text" })),
  status: Type.String({ description: "OPC UA StatusCode by name" }),
  quality: Type.Enum(["good", "uncertain", "bad"]),
  gatewayTime: timeSchema,
  ingestTime: timeSchema,
  tx: Type.Integer({ description: "store transaction that wrote it; compare with a figure's inputWatermark" }),
});
const pageSchema = Type.Object({
  notice: noticeSchema,
  device: Type.String(),
  metric: Type.String(),
  role: nullable(Type.String()),
  unit: nullable(Type.String()),
  datatype: Type.String(),
  simulated: Type.Boolean(),
  from: timeSchema,
  to: Type.String({ description: "exclusive" }),
  readings: Type.Array(readingSchema),
  next: nullable(Type.String({ description: "cursor of the next page; null: nothing more in this range now" })),
});

const datatypeNames = new Map<number, string>(Object.entries(DataType).map(([name, number]) => [number, name]));

/** A value as text, exactly: numbers in the shortest decimal form at their native width (CONTRACTS 5). */
export function valueText(value: Value, datatype: DataTypeNumber): string | null {
  if (value === null || typeof value === "string") return value;
  if (typeof value === "boolean") return String(value);
  return formatDecimal(decimalOf(value, datatype === DataType.Float));
}

function readQuestion(given: Static<typeof readingsQuery>, nowMs: number): { question: Question; startMs: number } {
  const faults: ParameterFault[] = [];
  const { device, metric, from, to } = given;
  if (given.cursor !== undefined) {
    const held = decodeCursor(cursorSchema, given.cursor);
    if (!held || held.q.toMs - held.q.fromMs > maxReadingsSpanMs) throw invalid([badCursor]);
    const fromMs = from === undefined ? undefined : parseTime(from);
    const toMs = to === undefined ? undefined : parseTime(to);
    faults.push(...conflicts({ device, metric, fromMs, toMs }, held.q));
    if (faults.length > 0) throw invalid(faults);
    return { question: held.q, startMs: Math.max(held.q.fromMs, held.a + 1) };
  }
  for (const [parameter, value] of Object.entries({ device, metric })) {
    const expected = parameter === "device" ? "factory/gateway/device" : "a metric of the device";
    if (value === undefined) faults.push({ parameter, found: "nothing", expected, remedy: `add "${parameter}"` });
  }
  const setting = { nowMs, defaultMs: defaultReadingsSpanMs, maxMs: maxReadingsSpanMs };
  const range = readRange(given, setting, faults);
  if (faults.length > 0) throw invalid(faults);
  return { question: { device: device ?? "", metric: metric ?? "", ...range }, startMs: range.fromMs };
}

/** @throws a 404 that names the devices with readings, or the metrics of the device */
function findSeries(all: readonly Series[], { device, metric }: Question): Series {
  const keyed = all.map((one) => ({ one, key: `${one.group}/${one.node}/${one.device}` }));
  const ofDevice = keyed.filter(({ key }) => key === device);
  if (ofDevice.length === 0) {
    throw problem({
      code: "ENTITY_UNKNOWN",
      status: 404,
      detail: `no reading of a device "${device}" was ever stored`,
      remedy: "use an id of /open/v1/devices whose state is not never",
      known: [...new Set(keyed.map(({ key }) => key))].sort(),
    });
  }
  const found = ofDevice.find(({ one }) => one.metric === metric);
  if (found) return found.one;
  throw problem({
    code: "METRIC_UNKNOWN",
    status: 404,
    detail: `device "${device}" has no metric "${metric}"`,
    remedy: "use one of those known: the names of the device's birth certificate",
    known: ofDevice.map(({ one }) => one.metric).sort(),
  });
}

function readingOf(row: StoredRow, datatype: DataTypeNumber): Static<typeof readingSchema> {
  return {
    time: isoTime(row.sourceTimeMs),
    value: valueText(row.value, datatype),
    status: statusName(row.status),
    quality: qualityOf(row.status),
    gatewayTime: isoTime(row.gatewayTimeMs),
    ingestTime: isoTime(row.ingestTimeMs),
    tx: row.tx,
  };
}

/**
 * The readings of a page, one more than its limit where there are more. It ends where births changed what the metric is: role, unit,
 * datatype and simulation of a page are those of the time of its readings; of a page without any, those of its end.
 */
async function readPage(
  telemetry: Telemetry,
  series: Series,
  startMs: number,
  toMs: number,
  limit: number,
): Promise<{ definition: MetricDefinition; rows: StoredRow[]; goesOn: boolean }> {
  const changes = (series.dated ?? []).slice(1).map(({ fromMs }) => fromMs);
  const edges = [startMs, ...changes.filter((at) => at > startMs && at < toMs), toMs];
  for (const [i, fromMs] of startMs < toMs ? edges.slice(0, -1).entries() : []) {
    const endMs = edges[i + 1] as number;
    const rows = await telemetry.read({ series: series.id, fromMs, toMs: endMs }, limit + 1);
    if (rows.length > 0) return { definition: definitionAt(series, fromMs), rows, goesOn: endMs < toMs };
  }
  return { definition: definitionAt(series, Math.max(startMs, toMs - 1)), rows: [], goesOn: false };
}

/** The stored readings a figure came from, each with its three times, its quality, and the transaction that wrote it. */
export function addReadingRoutes(app: App, { telemetry, registry, clock }: ApiDeps): void {
  const schema = {
    operationId: "listReadings",
    tags: ["readings"],
    summary: "原始读数 · Stored readings of one metric of one device",
    description:
      "Each with its three times, its quality and the store transaction that wrote it. Pages go on by source time: a reading that arrives late before a page's end does not come any more in that walk. A page ends where births changed what the metric is: role, unit, datatype and simulated are those of the time of its readings.\n\n每条读数含源时间、网关时间、入库时间、质量与写入事务号。测点定义变更处分页：每页的角色、单位、数据类型为其读数当时的定义。",
    querystring: readingsQuery,
    response: { 200: pageSchema, "4xx": problemSchema },
  };
  const config = { problems: ["PARAMETER_INVALID", "ENTITY_UNKNOWN", "METRIC_UNKNOWN"] as const };
  app.get("/readings", { schema, config }, async ({ query: given }) => {
    const { question, startMs } = readQuestion(given, clock.now());
    const series = findSeries(await telemetry.series(), question);
    const limit = given.limit ?? defaultLimit;
    const { definition, rows, goesOn } = await readPage(telemetry, series, startMs, question.toMs, limit);
    const { datatype, role, unit, simulated } = definition;
    const page = rows.slice(0, limit);
    const last = page.at(-1);
    return {
      notice: registry.demo ? demoNotice : null,
      device: question.device,
      metric: question.metric,
      role: role ?? null,
      unit: unit ?? null,
      datatype: datatypeNames.get(datatype) ?? String(datatype),
      simulated,
      from: isoTime(question.fromMs),
      to: isoTime(question.toMs),
      readings: page.map((row) => readingOf(row, datatype)),
      next: (rows.length > limit || goesOn) && last ? encodeCursor({ q: question, a: last.sourceTimeMs }) : null,
    };
  });
}
