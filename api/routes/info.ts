import { isoTime, timeZone } from "@jilian/domain/periods.ts";
import { Type } from "typebox";
import type { ApiDeps, App } from "../app.ts";
import type { Directory } from "../directory.ts";
import { demoNotice, levelSchema, noticeSchema, periodSchema, timeSchema } from "../figures.ts";
import { allMaxSpansMs, defaultLimit, maxLimit } from "../limits.ts";
import packageFile from "../package.json" with { type: "json" };
import { problemSchema } from "../problems.ts";

const named = Type.Object({ id: Type.String(), name: Type.String() });

const infoSchema = Type.Object({
  product: Type.String(),
  version: Type.String(),
  cluster: named,
  pilot: named,
  demo: Type.Boolean({ description: "true: a demonstration; simulated data counts and every figure says so" }),
  simulated: Type.Boolean({ description: "true: some machine is simulated now" }),
  notice: noticeSchema,
  timeZone: Type.String(),
  now: timeSchema,
  clockRate: Type.Number({
    description: "seconds of this platform's clock in one second; not 1 only where plants are simulated faster",
  }),
  registryVersion: Type.String(),
  counters: Type.Record(Type.String(), Type.Integer(), {
    description:
      "since this process started: storedSamples, duplicateSamples, shedSamples, repeatedRecords, ...; absent means none",
  }),
  indicators: Type.Array(
    Type.Object({
      id: Type.String(),
      zh: Type.String(),
      en: Type.String(),
      unit: Type.String(),
      definitionVersion: Type.Integer(),
      levels: Type.Array(levelSchema),
      periods: Type.Array(periodSchema),
      formula: Type.String(),
      source: Type.String(),
    }),
  ),
  limits: Type.Object({
    defaultLimit: Type.Integer(),
    maxLimit: Type.Integer(),
    // From the table itself: a key that the schema lacked would be left out of the answer in silence.
    maxSpanMs: Type.Object(Object.fromEntries(Object.keys(allMaxSpansMs).map((kind) => [kind, Type.Integer()])), {
      description:
        "longest range from `from` to `to` of one question: by kind of period (metrics, completeness), of readings, of alarms 一次查询的最长范围",
    }),
  }),
});

export const product = "Jilian 集联";
export const { version } = packageFile;

export function addInfoRoutes(app: App, { registry, live, clock }: ApiDeps, directory: Directory): void {
  const noQuery = Type.Object({}, { additionalProperties: false });
  const schema = {
    operationId: "getInfo",
    tags: ["platform"],
    summary: "平台信息 · Who, when, which indicators, which limits",
    querystring: noQuery,
    response: { 200: infoSchema, "4xx": problemSchema },
  };
  app.get("/info", { schema, config: { problems: ["PARAMETER_INVALID"] } }, async () => {
    const { cluster, pilot } = registry.file;
    return {
      product,
      version,
      cluster: { id: cluster.id, name: cluster.name },
      pilot: { id: pilot.id, name: pilot.name },
      demo: registry.demo,
      simulated: live.samples.values().some((sample) => sample.series.definition.simulated),
      notice: registry.demo ? demoNotice : null,
      timeZone,
      now: isoTime(clock.now()),
      clockRate: clock.rate,
      registryVersion: registry.version,
      counters: Object.fromEntries(live.counters),
      indicators: [...directory.indicators.values()].map(({ reasons: _, ...i }) => ({
        ...i,
        levels: [...i.levels],
        periods: [...i.periods],
      })),
      limits: { defaultLimit, maxLimit, maxSpanMs: allMaxSpansMs },
    };
  });
}
