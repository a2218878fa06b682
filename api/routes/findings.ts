import { isoTime } from "@jilian/domain/periods.ts";
import { Type } from "typebox";
import type { ApiDeps, App } from "../app.ts";
import { demoNotice, noticeSchema, timeSchema } from "../figures.ts";
import { defaultLimit } from "../limits.ts";
import { limitParameter, strict } from "../parameters.ts";
import { problemSchema } from "../problems.ts";

const findingSchema = Type.Object({
  code: Type.String(),
  subject: Type.String(),
  detail: Type.String(),
  firstTime: timeSchema,
  lastTime: timeSchema,
  count: Type.Integer(),
  closedTime: Type.Union([timeSchema, Type.Null()]),
  closedBy: Type.Union([Type.String(), Type.Null()]),
});

/** What needs a person's eye: conflicts, unexplained resets, refused data. */
export function addFindingRoutes(app: App, { ledger, registry }: ApiDeps): void {
  const querystring = Type.Object({ limit: Type.Optional(limitParameter) }, strict);
  const response = {
    200: Type.Object({
      notice: noticeSchema,
      droppedPeriods: Type.Integer({
        description: "periods whose findings are no longer closed or opened again: too many",
      }),
      findings: Type.Array(findingSchema),
    }),
    "4xx": problemSchema,
  };
  const schema = {
    operationId: "listFindings",
    tags: ["platform"],
    summary: "问题 · What needs a person's eye, newest first",
    querystring,
    response,
  };
  app.get("/findings", { schema, config: { problems: ["PARAMETER_INVALID"] } }, async ({ query }) => ({
    notice: registry.demo ? demoNotice : null,
    droppedPeriods: ledger.droppedFindingPeriods(),
    findings: ledger.findings(query.limit ?? defaultLimit).map(({ firstMs, lastMs, closedMs, ...finding }) => ({
      ...finding,
      closedTime: closedMs === null ? null : isoTime(closedMs),
      firstTime: isoTime(firstMs),
      lastTime: isoTime(lastMs),
    })),
  }));
}
