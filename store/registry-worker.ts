/** A thread that checks one registry and ends: reading YAML of a large cluster takes seconds. See registry-aside.ts. */
import { parentPort, workerData } from "node:worker_threads";
import { readRegistry } from "./registry.ts";
import type { CheckedFile, RegistryText } from "./registry-aside.ts";

const { text, fileName } = workerData as RegistryText;
const checked = readRegistry(text, fileName);
const answer: CheckedFile = checked.ok ? { ok: true, file: checked.value.file } : { ok: false, faults: checked.faults };
parentPort?.postMessage(answer);
