import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type { JilianError } from "@jilian/domain/errors.ts";
import type { RunningEngine } from "./engine.ts";
import { encodeError, type Lifecycle } from "./protocol.ts";
import { serving } from "./serve.ts";

const tell = (event: Lifecycle) => parentPort?.postMessage(event);
const users = serving();

let opening: Promise<RunningEngine> | undefined;
let ending = false;

/** Time in which a thread that wants to end does so by itself; beyond it, it is cut off. */
const endTimeoutMs = 60_000;

/**
 * The thread ends when nothing keeps its event loop busy. `process.exit` tears native handles and sockets down at any point of their work,
 * by which the whole process can crash instead of the owner being told; so it is the last resort for what never ends.
 */
function endWithin(timeoutMs: number): void {
  setTimeout(() => process.exit(1), timeoutMs).unref();
}

/**
 * Ends the thread in order after a fault: users see their ports close, the owner is told why. The queries under way are waited for,
 * because DuckDB's binding aborts the whole process when its thread goes while they run; so is an opening under way.
 */
async function fail(thrown: unknown): Promise<void> {
  if (ending) return;
  ending = true;
  endWithin(endTimeoutMs);
  tell({ kind: "failed", error: encodeError(thrown, "keep the telemetry store") });
  users.drop();
  await opening?.then(({ abandon }) => abandon()).catch(() => undefined);
  parentPort?.close();
}

async function end({ close }: RunningEngine): Promise<void> {
  if (ending) return;
  ending = true;
  const error = await users.end(close);
  tell(error ? { kind: "closed", error } : { kind: "closed" });
  endWithin(endTimeoutMs);
  parentPort?.close();
}

/**
 * Serves a store in this thread, started by `openInThread`, until its owner closes it or it fails.
 * @param open opens the store; it may call `fail` when everything it is asked from now on would fail
 */
export async function hostStore<Setting>(
  open: (setting: Setting, fail: (error: JilianError) => void) => Promise<RunningEngine>,
): Promise<void> {
  const { port: ownerPort, ...setting } = workerData as Setting & { port: MessagePort };
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);
  try {
    opening = open(setting as Setting, fail);
    const opened = await opening;
    if (ending) return;
    users.serve(opened.engine, ownerPort);
    parentPort?.once("message", () => end(opened));
    tell({ kind: "opened", found: opened.found });
  } catch (thrown) {
    if (ending) return;
    ending = true;
    endWithin(endTimeoutMs);
    tell({ kind: "refused", error: encodeError(thrown, "open the telemetry store") });
    ownerPort.close();
  }
}
