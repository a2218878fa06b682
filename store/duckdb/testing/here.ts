import { MessageChannel } from "node:worker_threads";
import type { JilianError } from "@jilian/domain/errors.ts";
import { telemetryOver } from "../../thread/client.ts";
import type { OwnedTelemetry } from "../../thread/owner.ts";
import { decodeError } from "../../thread/protocol.ts";
import { serving } from "../../thread/serve.ts";
import type { Setting } from "../database.ts";
import { openEngine } from "../engine.ts";

/**
 * The embedded store over its ports, but in the thread of the test: for tests of what uses a store. Starting a thread and loading the store
 * into it takes three times as long as opening a file, and there are hundreds of them.
 */
export async function openTelemetryHere(setting: Setting): Promise<OwnedTelemetry> {
  const failed = Promise.withResolvers<JilianError>();
  const users = serving();
  const opened = await openEngine(setting, (error) => {
    failed.resolve(error);
    users.drop();
  });
  const { port1, port2 } = new MessageChannel();
  users.serve(opened.engine, port2);
  let closed: Promise<void> | undefined;

  async function close(): Promise<void> {
    const error = await users.end(opened.close);
    if (error) throw decodeError(error);
  }

  return { ...telemetryOver(port1, () => (closed ??= close())), failed: failed.promise };
}
