import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { clockFromSetting } from "@jilian/domain/clock.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import { connectTelemetry } from "@jilian/store/duckdb/telemetry.ts";
import { indexRegistry, type RegistryFile } from "@jilian/store/registry.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";
import { createEngine } from "./engine.ts";
import type { KpiMessage, KpiReply, KpiWorkerData } from "./start.ts";

/** Folding runs in a thread of its own: a recompute never delays the broker's keep-alive (CONTRACTS 4). */
const data = workerData as KpiWorkerData & { port: MessagePort };
const log = pino({ name: "kpi", level: data.logLevel });
const telemetry = connectTelemetry(data.port);
const ledger = openLedger({ path: data.ledgerPath, log });
const registry = indexRegistry(data.registryFile as RegistryFile);
const clock = clockFromSetting(data.clockSetting);
const reply = (message: KpiReply) => parentPort?.postMessage(message);

const engine = await createEngine({
  telemetry,
  ledger,
  registry,
  clock,
  provisionalIntervalMs: data.provisionalIntervalMs,
});
let closing = false;
let wanted = false;
let settling: number[] = [];
let wake: (() => void) | undefined;

parentPort?.on("message", (message: KpiMessage) => {
  if (message.type === "close") closing = true;
  if (message.type === "settle") settling.push(message.id);
  wanted = true;
  wake?.();
});
reply({ type: "ready" });

async function step(): Promise<void> {
  const asked = settling;
  settling = [];
  const { results, caughtUp } = await engine.tick({ thorough: asked.length > 0 });
  reply({ type: "results", results });
  if (caughtUp) for (const id of asked) reply({ type: "settled", id });
  else settling.push(...asked);
}

while (!closing) {
  wanted = false;
  try {
    await step();
  } catch (error) {
    log.error({ code: "KPI_TICK", err: messageOf(error) }, "figures could not be brought up to date; trying again");
  }
  const pauseMs = settling.length > 0 ? 0 : data.kpiIntervalMs;
  await new Promise<void>((resolve) => {
    // A wake-up shortens the pause only for closing and settling: new samples wait for the next round anyway.
    const timer = setTimeout(resolve, pauseMs);
    wake = () => {
      if (!closing && settling.length === 0) return;
      clearTimeout(timer);
      resolve();
    };
    if (wanted && (closing || settling.length > 0)) wake();
  });
}
await telemetry.close();
ledger.close();
parentPort?.close();
