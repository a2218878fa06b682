import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { clockFromSetting } from "@jilian/domain/clock.ts";
import { codeOf, messageOf } from "@jilian/domain/errors.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { connectTelemetry } from "@jilian/store/thread/owner.ts";
import { pino } from "pino";
import { pause } from "../pause.ts";
import { createEngine } from "./engine.ts";
import type { KpiMessage, KpiReply, KpiWorkerData } from "./start.ts";

/** At ten batches a second, what a minute brings: a backlog is folded in steps of this. */
const txPerTick = 500;

/** Folding runs in a thread of its own: a recompute never delays the broker's keep-alive (CONTRACTS 4). */
const data = workerData as KpiWorkerData & { port: MessagePort };
const log = pino({ name: "kpi", level: data.logLevel });
const telemetry = connectTelemetry(data.port);
const ledger = openLedger({ path: data.ledgerPath, log });
const versions = followVersions(ledger);
const clock = clockFromSetting(data.clockSetting);
const { provisionalIntervalMs } = data;
const reply = (message: KpiReply) => parentPort?.postMessage(message);

const engine = await createEngine({
  telemetry,
  ledger,
  versions,
  clock,
  provisionalIntervalMs,
  txPerTick,
  onCountFailed: (error) =>
    log.warn(
      {
        code: "KPI_COUNT",
        found: codeOf(error),
        err: messageOf(error),
        remedy: "is the store overloaded, or too slow for its timeout? figures go on with the completeness they have",
      },
      "stored samples could not be counted; trying again",
    ),
  onShowFailed: (error) =>
    log.warn(
      { code: "KPI_SHOW", err: messageOf(error) },
      "figures are kept, but not where displays read them; trying again",
    ),
});
let closing = false;
/** Ids of the settle requests that are not answered. */
const settling: number[] = [];
/** Ends the pause between two ticks. */
let wake = new AbortController();

parentPort?.on("message", (message: KpiMessage) => {
  if (message.type === "close") closing = true;
  else settling.push(message.id);
  wake.abort();
});
reply({ type: "ready" });

/** One tick. @returns how long to wait for the next */
async function step(): Promise<number> {
  const asked = settling.length;
  const startedMs = performance.now();
  const { results, caughtUp } = await engine.tick({ thorough: asked > 0 });
  reply({ type: "results", results, caughtUp, lagTx: engine.lagTx(), durationMs: performance.now() - startedMs });
  if (!caughtUp) return 0;
  for (const id of settling.splice(0, asked)) reply({ type: "settled", id });
  return settling.length > 0 ? 0 : data.kpiIntervalMs;
}

while (!closing) {
  wake = new AbortController();
  let pauseMs = data.kpiIntervalMs;
  try {
    pauseMs = await step();
  } catch (error) {
    log.error({ code: "KPI_TICK", err: messageOf(error) }, "figures could not be brought up to date; trying again");
  }
  await pause(pauseMs, wake.signal);
}
await engine.close();
await telemetry.close();
ledger.close();
parentPort?.close();
