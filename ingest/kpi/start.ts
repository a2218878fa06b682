import { Worker } from "node:worker_threads";
import { JilianError } from "@jilian/domain/errors.ts";
import type { Result } from "@jilian/domain/result.ts";
import type { IngestConfig } from "../config.ts";
import type { IngestParts } from "../start.ts";

export type KpiWorkerData = {
  ledgerPath: string;
  registryFile: unknown;
  clockSetting: string | undefined;
  kpiIntervalMs: number;
  provisionalIntervalMs: number;
  logLevel: string;
};
export type KpiMessage = { type: "settle"; id: number } | { type: "close" };
export type KpiReply = { type: "ready" } | { type: "results"; results: Result[] } | { type: "settled"; id: number };

export type Kpi = {
  /** Resolves when every figure is up to date with what was stored when it was called. */
  readonly settle: () => Promise<void>;
  readonly close: () => Promise<void>;
};

type Parts = Pick<IngestParts, "telemetry" | "ledgerPath" | "registry" | "clockSetting" | "log"> & {
  onResults: (results: Result[]) => void;
};

/**
 * Starts the KPI engine in a worker thread.
 * @throws JilianError KPI_WORKER when the thread cannot start
 */
export async function startKpi(
  config: Pick<IngestConfig, "kpiIntervalMs" | "provisionalIntervalMs">,
  parts: Parts,
): Promise<Kpi> {
  const port = await parts.telemetry.port();
  const data: KpiWorkerData = {
    ledgerPath: parts.ledgerPath,
    registryFile: parts.registry.file,
    clockSetting: parts.clockSetting,
    kpiIntervalMs: config.kpiIntervalMs,
    provisionalIntervalMs: config.provisionalIntervalMs,
    logLevel: parts.log.level,
  };
  const worker = new Worker(new URL("./worker.ts", import.meta.url), {
    workerData: { ...data, port },
    transferList: [port],
  });
  const waiting = new Map<number, () => void>();
  let nextId = 1;
  let failed: Error | undefined;
  const exited = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
  await new Promise<void>((resolve, reject) => {
    worker.on("error", (cause) => {
      failed = new JilianError("the KPI thread ended", {
        code: "KPI_WORKER",
        action: "compute figures",
        remedy: "readings are stored all the same; start the service again and report the error",
        cause,
      });
      parts.log.error(
        { code: "KPI_WORKER", err: cause instanceof Error ? cause.message : String(cause) },
        "the KPI thread ended",
      );
      for (const release of waiting.values()) release();
      reject(failed);
    });
    worker.on("message", (message: KpiReply) => {
      if (message.type === "ready") resolve();
      else if (message.type === "results") parts.onResults(message.results);
      else {
        waiting.get(message.id)?.();
        waiting.delete(message.id);
      }
    });
  });
  const send = (message: KpiMessage) => worker.postMessage(message);
  return {
    settle: () =>
      new Promise((resolve) => {
        if (failed) return resolve();
        const id = nextId++;
        waiting.set(id, resolve);
        send({ type: "settle", id });
        return undefined;
      }),
    close: async () => {
      send({ type: "close" });
      await exited;
    },
  };
}
