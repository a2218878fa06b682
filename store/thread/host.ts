import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type { JilianError } from "@jilian/domain/errors.ts";
import type { Engine, RunningEngine } from "./engine.ts";
import { type Answer, buffersOf, encodeError, type Lifecycle, type Request } from "./protocol.ts";

const tell = (event: Lifecycle) => parentPort?.postMessage(event);
const ports = new Set<MessagePort>();

function serve(engine: Engine, port: MessagePort): void {
  const answer = (message: Answer) =>
    port.postMessage(message, message.kind === "result" ? buffersOf(message.value) : []);
  ports.add(port);
  port.on("close", () => ports.delete(port));
  port.on("message", (request: Request) => {
    if (request.kind === "attach") {
      serve(engine, request.port);
      return;
    }
    const { id, method, args } = request;
    const call = engine[method] as (...args: readonly unknown[]) => Promise<unknown>;
    call(...args).then(
      (value) => answer({ kind: "result", id, value }),
      (thrown: unknown) => answer({ kind: "error", id, error: encodeError(thrown, method) }),
    );
  });
}

let running: RunningEngine | undefined;
let ending = false;

/**
 * Ends the thread in order after a fault: users see their ports close, the owner is told why. The queries under way are waited for,
 * because DuckDB's binding aborts the whole process when its thread goes while they run.
 */
async function fail(thrown: unknown): Promise<void> {
  if (ending) return;
  ending = true;
  tell({ kind: "failed", error: encodeError(thrown, "keep the telemetry store") });
  for (const port of ports) port.close();
  await running?.abandon().catch(() => undefined);
  process.exit(1);
}

async function end({ close }: RunningEngine): Promise<void> {
  if (ending) return;
  ending = true;
  for (const port of ports) port.postMessage({ kind: "closing" } satisfies Answer);
  const error = await close().catch((thrown: unknown) => encodeError(thrown, "close the telemetry store"));
  for (const port of ports) port.close();
  tell(error ? { kind: "closed", error } : { kind: "closed" });
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
    const opened = await open(setting as Setting, fail);
    running = opened;
    serve(opened.engine, ownerPort);
    parentPort?.once("message", () => end(opened));
    tell({ kind: "opened", found: opened.found });
  } catch (thrown) {
    tell({ kind: "refused", error: encodeError(thrown, "open the telemetry store") });
    ownerPort.close();
  }
}
