import { createRequire } from "node:module";

/** Grafana's own library for data and units. Its ESM build does not load in Node (moment-timezone); its CommonJS build does. */
export const grafana = createRequire(import.meta.url)("@grafana/data") as typeof import("@grafana/data");

// Transformations ask the browser's window whether a scene is around.
Reflect.set(globalThis, "window", {});
