import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { type Refusal, readSetting } from "./commands/setting.ts";
import type { GatewayConfig } from "./config.ts";

/** What the thread tells: the configuration, or every fault in it. */
export type SettingRead = { readonly config: GatewayConfig } | { readonly refused: string };

/** Beside the sources; in a package beside the bundle, whose parts lie in a folder of their own. */
const places = ["setting-worker.ts", "setting-worker.mjs", "../setting-worker.mjs"];

/** A file of some hundred tags: where it has a fault, telling it takes 0.2 s of a fast core. A thread takes 25 MB. */
const largeBytes = 16 * 1024;

function isLarge(file: string): boolean {
  return (statSync(file, { throwIfNoEntry: false })?.size ?? 0) > largeBytes;
}

function readInThread(file: string, refusal: Refusal, signal: AbortSignal): Promise<GatewayConfig> {
  const program = places.map((place) => join(import.meta.dirname, place)).find((path) => existsSync(path));
  if (program === undefined) return refusal(`${places[0]} is missing\n  remedy: install the gateway again`);
  return new Promise((done, fail) => {
    const thread = new Worker(program, { workerData: file });
    const end = () => void thread.terminate();
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    thread.once("message", (read: SettingRead) => {
      if ("config" in read) done(read.config);
      else fail(new Error(read.refused));
    });
    thread.once("error", fail);
    thread.once("exit", () => {
      signal.removeEventListener("abort", end);
      // After a message this is of no effect.
      fail(new Error(`${file}: not read to its end`));
    });
  });
}

/**
 * Reads and checks a configuration while the gateway runs: one with many tags in a thread of its own, so that no poll waits for it, however
 * long it takes to tell what is wrong.
 * @param signal ends the thread, and the reading with a fault
 * @throws Error whose message lists every fault
 */
export async function readSettingAside(file: string, refusal: Refusal, signal: AbortSignal): Promise<GatewayConfig> {
  if (isLarge(file)) return readInThread(file, refusal, signal);
  return (await readSetting(file, false, refusal)).config;
}
