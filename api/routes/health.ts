import { Type } from "typebox";
import type { ApiDeps, App } from "../app.ts";
import { problem, problemSchema } from "../problems.ts";

const statusSchema = Type.Object({ status: Type.Literal("ok") });
const timeoutMs = 1000;

async function within<T>(work: Promise<T>, limitMs: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`no answer within ${limitMs} ms`)), limitMs);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** For supervisors and load balancers, without a key: live tells that the process answers, ready that its stores do. */
export function addHealthRoutes(app: App, { telemetry, ledger, log }: ApiDeps): void {
  const live = {
    operationId: "isLive",
    tags: ["platform"],
    summary: "存活检查 · Whether the process answers",
    security: [],
    response: { 200: statusSchema },
  };
  app.get("/health/live", { schema: live }, async () => ({ status: "ok" as const }));

  const schema = {
    operationId: "isReady",
    tags: ["platform"],
    summary: "就绪检查 · Whether its stores answer within a second",
    security: [],
    response: { 200: statusSchema, 503: problemSchema },
  };
  app.get("/health/ready", { schema, config: { problems: ["NOT_READY"] } }, async () => {
    try {
      await within(telemetry.lastTx(), timeoutMs);
      ledger.changeLog();
    } catch (error) {
      log.warn({ err: error }, "not ready");
      const remedy = "look at the platform's log; the store's own error is there";
      throw problem({
        code: "NOT_READY",
        status: 503,
        detail: "the telemetry store or the ledger does not answer",
        remedy,
      });
    }
    return { status: "ok" as const };
  });
}
