import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { JilianError } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import type { Telemetry } from "../telemetry.ts";
import { telemetryOver } from "./client.ts";
import { decodeError, type Lifecycle } from "./protocol.ts";

/** A store with its thread. */
export type OwnedTelemetry = Telemetry & {
  /** Resolves, once and only then, when the store's thread ends without having been closed: the service should end too. */
  readonly failed: Promise<JilianError>;
};

function unexpected(cause: unknown): JilianError {
  return new JilianError("the telemetry store's thread ended unexpectedly", {
    code: "STORE_FAILED",
    action: "keep the telemetry store",
    remedy: "start the service again; everything acknowledged is stored",
    cause,
  });
}

/** Follows the life of the store's thread. */
function watch(worker: Worker) {
  const opened = Promise.withResolvers<Extract<Lifecycle, { kind: "opened" }>>();
  const failed = Promise.withResolvers<JilianError>();
  const exited = Promise.withResolvers<void>();
  let closed: Extract<Lifecycle, { kind: "closed" }> | undefined;
  let refused = false;
  let cause: unknown;
  worker.on("message", (event: Lifecycle) => {
    if (event.kind === "opened") opened.resolve(event);
    else if (event.kind === "closed") closed = event;
    else {
      cause = decodeError(event.error);
      refused ||= event.kind === "refused";
    }
  });
  worker.on("error", (thrown) => {
    cause ??= thrown;
  });
  worker.on("exit", () => {
    const error = cause instanceof JilianError ? cause : unexpected(cause);
    opened.reject(error);
    if (!closed && !refused) failed.resolve(error);
    exited.resolve();
  });
  return { opened: opened.promise, failed: failed.promise, exited: exited.promise, closing: () => closed };
}

/**
 * Opens a store in a thread of its own, which runs `hostStore`.
 * @param setting what its `open` gets
 * @param where what the log calls it by
 * @throws JilianError what its `open` throws
 */
export async function openInThread(
  worker: URL,
  setting: object,
  where: Record<string, string>,
  log: Logger,
): Promise<OwnedTelemetry> {
  const { port1, port2 } = new MessageChannel();
  const thread = new Worker(worker, {
    name: "telemetry",
    workerData: { ...setting, port: port2 },
    transferList: [port2],
  });
  const life = watch(thread);
  let closed: Promise<void> | undefined;

  async function close(): Promise<void> {
    thread.postMessage("close");
    await life.exited;
    const error = life.closing()?.error;
    log.info(where, "telemetry store closed");
    if (error) throw decodeError(error);
  }

  const telemetry = telemetryOver(port1, () => (closed ??= close()));
  const { found } = await life.opened;
  log.info({ ...where, ...found }, "telemetry store open");
  void life.failed.then((error) => log.fatal({ err: error, ...where }, "telemetry store failed"));
  return { ...telemetry, failed: life.failed };
}

/**
 * The store of another thread, over a port made by its `port()`. Closing it ends this use; the store stays open.
 */
export function connectTelemetry(port: MessagePort): Telemetry {
  return telemetryOver(port, async (end) => end(closedHere()));
}

function closedHere(): JilianError {
  return new JilianError("this use of the telemetry store was closed", {
    code: "STORE_CLOSED",
    action: "call the telemetry store",
    remedy: "connect again over a new port",
  });
}
