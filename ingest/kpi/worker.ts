import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { clockFromSetting } from "@jilian/domain/clock.ts";
import { codeOf, messageOf } from "@jilian/domain/errors.ts";
import type { Result } from "@jilian/domain/result.ts";
import { packResults } from "@jilian/store/columns/packing.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { connectTelemetry } from "@jilian/store/thread/owner.ts";
import { pino } from "pino";
import { pause } from "../pause.ts";
import { createEngine, type Engine } from "./engine.ts";
import { type Lease, leasedStores, takeLease } from "./lease.ts";
import type { KpiMessage, KpiReply, KpiWorkerData } from "./start.ts";

/** At ten batches a second, what a minute brings: a backlog is folded in steps of this. */
const txPerTick = 500;

/** Folding runs in a thread of its own: a recompute never delays the broker's keep-alive (CONTRACTS 4). */
const data = workerData as KpiWorkerData & { port: MessagePort };
const log = pino({ name: "kpi", level: data.logLevel });
const telemetry = connectTelemetry(data.port);
const ledger = openLedger({ path: data.ledgerPath, log });
const clock = clockFromSetting(data.clockSetting);
const { provisionalIntervalMs } = data;
const reply = (message: KpiReply) => parentPort?.postMessage(message);

/** An engine under its lease: it ends when another one has it. */
type Leased = { readonly engine: Engine; readonly lease: Lease };

function onWait(holder: string): void {
  reply({ type: "waits", holder });
  log.warn(
    { code: "KPI_LEASE", holder, remedy: "none, when it is meant as a reserve; else stop one of the two" },
    "another process computes the figures of this ledger; waiting for its end",
  );
}

async function begin(lease: Lease): Promise<Leased> {
  const engine = await createEngine({
    ...leasedStores({ ledger, telemetry }, lease),
    versions: followVersions(ledger),
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
  log.info({ epoch: lease.epoch }, "computing the figures of this ledger");
  return { engine, lease };
}

/** An engine, as soon as it may compute. @returns undefined when the thread is to end before */
async function start(): Promise<Leased | undefined> {
  const { isStoreOwned, leaseMs } = data;
  const lease = await takeLease({ ledger, isStoreOwned, onWait, leaseMs }, ending.signal);
  if (!lease) return undefined;
  try {
    const begun = await begin(lease);
    reply({ type: "computes" });
    return begun;
  } catch (error) {
    lease.close();
    throw error;
  }
}

async function end({ engine, lease }: Leased): Promise<void> {
  await engine.close();
  lease.close();
}

const ending = new AbortController();
/** Ids of the settle requests that are not answered. */
const settling: number[] = [];
/** Ends the pause between two ticks. */
let wake = new AbortController();

/** Resolves when the figures that were told last are taken over. */
let taken = Promise.withResolvers<void>();

parentPort?.on("message", (message: KpiMessage) => {
  if (message.type === "taken") {
    taken.resolve();
    return;
  }
  if (message.type === "close") ending.abort();
  else settling.push(message.id);
  wake.abort();
});

/** Figures that are told at once: a look at some enterprises makes thousands, and the other thread is the broker's. */
const toldAtOnce = 100;

async function tell(results: readonly Result[]): Promise<void> {
  for (let i = 0; i < results.length; i += toldAtOnce) {
    taken = Promise.withResolvers();
    reply({ type: "figures", text: JSON.stringify(packResults(results.slice(i, i + toldAtOnce))) });
    await taken.promise;
  }
}

/** One tick. @returns how long to wait for the next */
async function step({ engine, lease }: Leased): Promise<number> {
  lease.check();
  const asked = settling.length;
  const startedMs = performance.now();
  const { results: made, caughtUp } = await engine.tick({ thorough: asked > 0 });
  const sinceMs = clock.now() - data.keepResultsMs;
  const durationMs = performance.now() - startedMs;
  await tell(made.filter(({ endMs }) => endMs >= sinceMs));
  reply({ type: "ticked", caughtUp, lagTx: engine.lagTx(), durationMs });
  if (!caughtUp) return 0;
  for (const id of settling.splice(0, asked)) reply({ type: "settled", id });
  return settling.length > 0 ? 0 : data.kpiIntervalMs;
}

/** Begins at once where nobody is in the way: what cannot begin fails the start of the service. */
let running = await start();
while (!ending.signal.aborted) {
  wake = new AbortController();
  let pauseMs = data.kpiIntervalMs;
  try {
    running ??= await start();
    if (running) pauseMs = await step(running);
  } catch (error) {
    if (running && codeOf(error) === "LEASE_LOST") {
      log.warn(
        { code: "LEASE_LOST", err: messageOf(error) },
        "this engine has ended; another begins when it may compute",
      );
      await end(running);
      running = undefined;
    } else
      log.error({ code: "KPI_TICK", err: messageOf(error) }, "figures could not be brought up to date; trying again");
  }
  if (!ending.signal.aborted) await pause(pauseMs, wake.signal);
}
if (running) await end(running);
await telemetry.close();
ledger.close();
parentPort?.close();
