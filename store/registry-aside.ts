import { Worker } from "node:worker_threads";
import type { Fault } from "@jilian/domain/check-config.ts";
import { JilianError } from "@jilian/domain/errors.ts";
import { indexRegistry, type Registry } from "./registry.ts";
import type { RegistryFile } from "./registry-schema.ts";

export type RegistryText = { text: string; fileName: string };
export type CheckedFile = { ok: true; file: RegistryFile } | { ok: false; faults: Fault[] };

/**
 * Checks a registry as `readRegistry` does, in a thread of its own: a platform that goes on must not stand still for the seconds that a
 * large one takes.
 * @throws JilianError REGISTRY_CHECK when the thread fails
 */
export async function readRegistryAside(
  text: string,
  fileName: string,
): Promise<{ ok: true; value: Registry } | { ok: false; faults: Fault[] }> {
  const own: RegistryText = { text, fileName };
  const answered = Promise.withResolvers<CheckedFile>();
  const failed = (cause: unknown) =>
    new JilianError("the registry could not be checked", {
      code: "REGISTRY_CHECK",
      action: "check a registry",
      remedy: "check it with: jilian registry check FILE",
      cause,
    });
  const worker = new Worker(new URL("./registry-worker.ts", import.meta.url), { name: "registry", workerData: own });
  worker.once("message", answered.resolve);
  worker.once("error", (error) => answered.reject(failed(error)));
  worker.once("exit", (code) => answered.reject(failed(`the thread ended with ${code}`)));
  const checked = await answered.promise;
  return checked.ok ? { ok: true, value: indexRegistry(checked.file) } : checked;
}
