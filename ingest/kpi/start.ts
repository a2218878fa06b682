import { Worker } from "node:worker_threads";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { Result } from "@jilian/domain/result.ts";
import { type ResultColumns, unpackResults } from "@jilian/store/columns/packing.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import type { Logger } from "pino";
import type { IngestConfig } from "../config.ts";

export type KpiWorkerData = {
  ledgerPath: string;
  clockSetting: string | undefined;
  kpiIntervalMs: number;
  provisionalIntervalMs: number;
  logLevel: string;
  isStoreOwned: boolean;
  leaseMs: number | undefined;
  keepResultsMs: number;
};
/** `taken`: the figures of the last reply are taken over. */
export type KpiMessage = { type: "settle"; id: number } | { type: "taken" } | { type: "close" };
export type KpiReply =
  /** It computes from now on. */
  | { type: "computes" }
  /** Another process does. */
  | { type: "waits"; holder: string }
  /** Some of the figures of a tick, as JSON of columns: read in half the time of cloned objects. The next ones follow when these are taken. */
  | { type: "figures"; text: string }
  | { type: "ticked"; caughtUp: boolean; lagTx: number; durationMs: number }
  | { type: "settled"; id: number };

export type KpiStats = {
  /** False once the thread has ended. */
  alive: boolean;
  ticks: number;
  tickDurationMs: number;
  /** Sum over all ticks. */
  tickTotalMs: number;
  /** Transactions stored and not folded, as of the last tick. */
  lagTx: number;
  /** How long it has not been caught up with the store; 0 when it was after the last tick and that is not long ago, or while it waits. */
  behindMs: number;
  /** Who computes the figures in its place; undefined while it does. */
  waitsFor: string | undefined;
};

export type Kpi = {
  readonly stats: () => KpiStats;
  /**
   * Resolves when every figure is up to date with what was stored when it was called; while another process computes, after its end.
   * @throws JilianError KPI_WORKER when the thread has ended, or ends meanwhile
   */
  readonly settle: () => Promise<void>;
  /** Resolves, once and only then, when the thread ends without having been closed: the service should end too. */
  readonly failed: Promise<JilianError>;
  readonly close: () => Promise<void>;
};

export type KpiParts = {
  telemetry: Telemetry;
  ledgerPath: string;
  clockSetting: string | undefined;
  /** True where the telemetry store has one process as its user, which this is: no other engine can be at work. False if absent. */
  isStoreOwned?: boolean;
  /** How long another engine may give no sign of life before this one takes its place; 15 s if absent. */
  leaseMs?: number;
  log: Logger;
  /**
   * Told of figures of periods that go on, or ended within this time; of all if absent. A recompute makes more of older ones in a second than
   * the broker's thread can take over without holding up its messages.
   */
  keepResultsMs?: number;
  onResults: (results: Result[]) => void;
  /** Told when those of a tick are all told. */
  onTicked?: () => void;
};

/** A tick that takes longer than this counts as being behind: its thread may hang. */
const longTickMs = 60_000;

/** What the thread's replies tell of its progress. */
function progress() {
  const seen = { ticks: 0, tickDurationMs: 0, tickTotalMs: 0, lagTx: 0 };
  let caughtUpMs = performance.now();
  let waitsFor: string | undefined;
  return {
    waits: (holder: string | undefined): void => {
      if (waitsFor !== holder) caughtUpMs = performance.now();
      waitsFor = holder;
    },
    note: ({ caughtUp, lagTx, durationMs }: Extract<KpiReply, { type: "ticked" }>): void => {
      seen.ticks += 1;
      seen.tickDurationMs = durationMs;
      seen.tickTotalMs += durationMs;
      seen.lagTx = lagTx;
      if (caughtUp) caughtUpMs = performance.now();
    },
    stats: () => {
      const sinceMs = performance.now() - caughtUpMs;
      const isBehind = waitsFor === undefined && (seen.lagTx > 0 || sinceMs > longTickMs);
      return { ...seen, behindMs: isBehind ? sinceMs : 0, waitsFor };
    },
  };
}

function threadEnded(cause: unknown): JilianError {
  return new JilianError("the KPI thread ended", {
    code: "KPI_WORKER",
    action: "compute figures",
    remedy: "readings are stored all the same; start the service again and report the error",
    cause,
  });
}

async function startWorker(
  config: Pick<IngestConfig, "kpiIntervalMs" | "provisionalIntervalMs">,
  { telemetry, ledgerPath, clockSetting, isStoreOwned = false, leaseMs, keepResultsMs = Infinity, log }: KpiParts,
): Promise<Worker> {
  const port = await telemetry.port();
  const { kpiIntervalMs, provisionalIntervalMs } = config;
  const own: KpiWorkerData = {
    ledgerPath,
    clockSetting,
    kpiIntervalMs,
    provisionalIntervalMs,
    logLevel: log.level,
    ...{ isStoreOwned, leaseMs, keepResultsMs },
  };
  return new Worker(new URL("./worker.ts", import.meta.url), {
    name: "kpi",
    workerData: { ...own, port },
    transferList: [port],
  });
}

/**
 * Starts the KPI engine in a worker thread. The registry over time is the ledger's, which must have a version.
 * @throws JilianError KPI_WORKER when the thread cannot start
 */
export async function startKpi(
  config: Pick<IngestConfig, "kpiIntervalMs" | "provisionalIntervalMs">,
  parts: KpiParts,
): Promise<Kpi> {
  const worker = await startWorker(config, parts);
  const ready = Promise.withResolvers<void>();
  const exited = Promise.withResolvers<void>();
  const waiting = new Map<number, PromiseWithResolvers<void>>();
  let nextId = 1;
  let cause: unknown;
  let ended: JilianError | undefined;
  let closing = false;
  const failed = Promise.withResolvers<JilianError>();
  const seen = progress();
  worker.on("error", (thrown) => {
    cause = thrown;
  });
  worker.on("exit", () => {
    ended = threadEnded(cause);
    if (!closing) {
      parts.log.error({ code: ended.code, err: messageOf(cause ?? "exit without an error") }, ended.message);
      failed.resolve(ended);
    }
    for (const settled of waiting.values()) settled.reject(ended);
    waiting.clear();
    ready.reject(ended);
    exited.resolve();
  });
  worker.on("message", (message: KpiReply) => {
    if (message.type === "computes" || message.type === "waits") {
      seen.waits(message.type === "waits" ? message.holder : undefined);
      ready.resolve();
    } else if (message.type === "figures") {
      // After what else waits for this thread: a port hands over what has come meanwhile before anything else has its turn. Said first: where
      // taking them over fails, the KPI thread would wait for ever, and whoever closes it too.
      setImmediate(send, { type: "taken" });
      parts.onResults(unpackResults(JSON.parse(message.text) as ResultColumns));
    } else if (message.type === "ticked") {
      seen.note(message);
      parts.onTicked?.();
    } else {
      waiting.get(message.id)?.resolve();
      waiting.delete(message.id);
    }
  });
  const send = (message: KpiMessage) => worker.postMessage(message);
  await ready.promise;
  return {
    failed: failed.promise,
    stats: () => ({ alive: ended === undefined, ...seen.stats() }),
    settle: async () => {
      if (ended) throw ended;
      const settled = Promise.withResolvers<void>();
      waiting.set(nextId, settled);
      send({ type: "settle", id: nextId++ });
      await settled.promise;
    },
    close: async () => {
      closing = true;
      send({ type: "close" });
      await exited.promise;
    },
  };
}
