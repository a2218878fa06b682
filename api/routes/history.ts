import { hourMs, isoTime, type Period, periods } from "@jilian/domain/periods.ts";
import { Type } from "typebox";
import type { ApiDeps, App } from "../app.ts";
import type { Directory } from "../directory.ts";
import { demoNotice, figureOf, loggedFigureSchema, loggedLevelSchema, noticeSchema } from "../figures.ts";
import { checkEntity, checkIndicator } from "../lookup.ts";
import { idParameter, strict, timeParameter } from "../parameters.ts";
import { readStart } from "../period-start.ts";
import { invalid, type ParameterFault, problem, problemSchema } from "../problems.ts";

const loggedPeriods: Period[] = periods.filter((period) => period !== "minute");
const historyQuery = Type.Object(
  {
    indicator: idParameter,
    level: loggedLevelSchema,
    entity: idParameter,
    period: Type.Enum(loggedPeriods, { description: "minutes have no revisions in the ledger 周期" }),
    start: timeParameter,
  },
  strict,
);
const historySchema = Type.Object({
  notice: noticeSchema,
  log: Type.String({ description: "name of the change log that the numbers belong to" }),
  revisions: Type.Array(loggedFigureSchema, {
    description: "oldest first; the last one is the figure as it is. What was provisional was replaced",
  }),
});

/** Every kept revision of one figure: what was said, when, and from which readings. */
export function addHistory(app: App, { ledger, registry }: ApiDeps, directory: Directory): void {
  const schema = {
    operationId: "figureHistory",
    tags: ["figures"],
    summary: "数据修订历史 · Every revision of one figure",
    description:
      "Final and revised figures are kept for good, each with the platform time it was made for (`asOf`) and the last store transaction in it (`inputWatermark`).\n\n最终值与修订均永久保留。",
    querystring: historyQuery,
    response: { 200: historySchema, "4xx": problemSchema },
  };
  const config = {
    problems: ["PARAMETER_INVALID", "INDICATOR_UNKNOWN", "ENTITY_UNKNOWN", "FIGURE_UNKNOWN"] as const,
  };
  app.get("/metrics/history", { schema, config }, async ({ query: { indicator, level, entity, period, start } }) => {
    const faults: ParameterFault[] = [];
    const startMs = readStart("start", start, period, faults);
    if (faults.length > 0) throw invalid(faults);
    checkIndicator(directory, level, indicator);
    checkEntity(directory, level, entity);
    const found = ledger.revisions({ indicator, level, entity, period, startMs });
    if (found.length === 0) {
      const latest = `/open/v1/metrics?indicator=${indicator}&level=${level}&entity=${entity}&period=${period}`;
      throw problem({
        code: "FIGURE_UNKNOWN",
        status: 404,
        detail: `the ledger has no ${period} of ${indicator} of ${level} "${entity}" that begins ${isoTime(startMs)}`,
        remedy: `look for its start at ${latest}&from=${startMs}&to=${startMs + hourMs}`,
      });
    }
    return {
      notice: registry.demo ? demoNotice : null,
      log: ledger.changeLog().id,
      revisions: found.map((result) => ({ ...figureOf(result, directory), change: result.change })),
    };
  });
}
