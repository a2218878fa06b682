/** How long a message takes through the broker while figures of a month are computed again in the same process. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brokerSchema } from "@jilian/broker/config.ts";
import { startBroker } from "@jilian/broker/start.ts";
import { systemClock } from "@jilian/domain/clock.ts";
import { dayMs, hourMs, periodStart } from "@jilian/domain/periods.ts";
import type { SparkplugBus } from "@jilian/ingest/bus.ts";
import { ingestSchema } from "@jilian/ingest/config.ts";
import { startIngest } from "@jilian/ingest/start.ts";
import { silent as log } from "@jilian/ingest/test-world.ts";
import { openTelemetry } from "@jilian/store/duckdb/telemetry.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { createLiveState } from "@jilian/store/live.ts";
import { indexRegistry } from "@jilian/store/registry.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { Value } from "typebox/value";
import { feedOf } from "../kpi/feed.ts";
import { gatewayOf, type Measure, secret } from "./kpi-broker-setting.ts";
import { plantOf } from "./kpi-size.ts";
import { quantile } from "./processes.ts";

export type BrokerLatency = {
  messages: number;
  /** Milliseconds from publish to receive, median and 99 %. */
  idleMs: [number, number];
  recomputingMs: [number, number];
  /** With figures idle, while a process that has nothing to do with the product keeps two threads busy. */
  besideBusyMs: [number, number];
  /** Messages that did not come within two seconds. */
  lost: number;
  /** Hours of readings that were computed again meanwhile. */
  hours: number;
};

const enterprises = 4;
/** Of the month this has readings; it is asked for again and again. */
const hoursOfReadings = 4;
const pollMs = 30_000;
const measured: Measure = { messages: 1000, everyMs: 10 };
const lookMs = 200;

async function measure(client: ChildProcess): Promise<number[]> {
  const answered = once(client, "message");
  client.send(measured);
  const [tookMs] = (await answered) as [number[]];
  return tookMs;
}

/** How much of the time is the waiting for a core, whoever has it. */
async function measureBesideBusy(client: ChildProcess): Promise<number[]> {
  const other = fork(new URL("./kpi-busy.ts", import.meta.url));
  await once(other, "message");
  const found = await measure(client);
  other.disconnect();
  await once(other, "exit");
  return found;
}

/** Keeps the month under computation. @returns ends it, and tells how many hours were done */
function recomputing(ledger: Ledger): () => number {
  const toMs = periodStart("hour", Date.now());
  let hours = 0;
  let cursorMs: number | undefined;
  const look = () => {
    const job = ledger.nextRecompute();
    if (job && cursorMs !== undefined && job.cursorMs > cursorMs) hours += 1;
    cursorMs = job?.cursorMs;
    if (!job) ledger.addRecompute({ fromMs: toMs - 30 * dayMs, toMs, reason: "bench" }, Date.now());
  };
  look();
  const timer = setInterval(look, lookMs);
  return () => {
    clearInterval(timer);
    return hours;
  };
}

/** Some hours of readings, as gateways would have sent them. */
function history() {
  const untilMs = periodStart("hour", Date.now()) - hourMs;
  const plant = plantOf(enterprises, { fromMs: untilMs - hoursOfReadings * hourMs, untilMs, pollMs });
  const feed = feedOf(plant, { seed: 1, troubled: false, shuffledShare: 0 });
  return { file: plant.file, messages: feed.until(untilMs) };
}

export async function measureBroker(): Promise<BrokerLatency> {
  const folder = mkdtempSync(join(tmpdir(), "jilian-bench-"));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const ledgerPath = join(folder, "ledger.sqlite");
  const ledger = openLedger({ path: ledgerPath, log });
  stack.defer(() => ledger.close());
  const telemetry = await openTelemetry({ path: join(folder, "t.duckdb"), memoryLimitMb: 512, threads: 2, log });
  stack.defer(() => telemetry.close());
  ledger.setCredential({ kind: "gateway", ...gatewayOf }, secret);
  ledger.setCredential({ kind: "host", name: "bench" }, secret);
  const broker = stack.use(await startBroker({ ...Value.Create(brokerSchema), port: 0 }, { ledger, log }));
  const { file, messages } = history();
  let hear: Parameters<SparkplugBus["onMessage"]>[0] = () => undefined;
  const bus: SparkplugBus = {
    ...broker.bus,
    onMessage: (handler) => {
      hear = handler;
      return broker.bus.onMessage(handler);
    },
  };
  const ingest = await startIngest(
    { ...Value.Create(ingestSchema), queueSamples: 1_000_000, kpiIntervalMs: 200 },
    {
      ...{ bus, telemetry, ledger, ledgerPath, live: createLiveState(), registry: indexRegistry(file) },
      ...{ clock: systemClock, clockSetting: undefined, isStoreOwned: true, log },
    },
  );
  stack.defer(() => ingest.close());
  for (const { topic, payload } of messages) hear(topic, payload);
  while (ingest.queuedSamples() > 0) await new Promise((resolve) => setTimeout(resolve, lookMs));
  await ingest.settle();

  const client = fork(new URL("./kpi-broker-client.ts", import.meta.url), [String(broker.port)]);
  await once(client, "message");
  // The first messages find both sides cold.
  await measure(client);
  const idle = await measure(client);
  const besideBusy = await measureBesideBusy(client);
  const end = recomputing(ledger);
  const busy = await measure(client);
  const hours = end();
  client.send("end");
  await once(client, "exit");
  const pair = (tookMs: number[]): [number, number] => [quantile(tookMs, 0.5), quantile(tookMs, 0.99)];
  const lost = 3 * measured.messages - idle.length - besideBusy.length - busy.length;
  const times = { idleMs: pair(idle), besideBusyMs: pair(besideBusy), recomputingMs: pair(busy) };
  return { messages: measured.messages, ...times, lost, hours };
}
