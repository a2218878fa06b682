/**
 * Writes the OpenAPI document of the open data interface to docs/openapi.json, in this repository's layout. Usage: node api/print-openapi.ts
 * The routes are those of a platform with empty stores in a temporary folder: the document does not depend on what is in them.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import { openTelemetry } from "@jilian/store/duckdb/telemetry.ts";
import { createLiveState } from "@jilian/store/live.ts";
import { indexRegistry } from "@jilian/store/registry.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";
import { buildApi } from "./server.ts";

const root = join(import.meta.dirname, "..");
const file = join(root, "docs/openapi.json");
const folder = mkdtempSync(join(tmpdir(), "jilian-openapi-"));
const log = pino({ level: "warn" });
const registry = indexRegistry({
  cluster: { id: "cluster", name: "cluster" },
  pilot: { id: "pilot", name: "pilot", demo: true },
  enterprises: [],
});
const ledger = openLedger({ path: join(folder, "ledger.sqlite"), log });
const telemetry = await openTelemetry({ path: join(folder, "t.duckdb"), memoryLimitMb: 64, threads: 1, log });
const app = buildApi(
  { host: "127.0.0.1", port: 0, maxStreams: 1, wall: { public: false } },
  { telemetry, ledger, live: createLiveState(), registry, clock: systemClock, log },
);
await app.ready();
writeFileSync(file, JSON.stringify(app.swagger(), null, 2));
execFileSync(join(root, "node_modules/.bin/biome"), ["format", "--write", file], { cwd: root, stdio: "inherit" });
await app.close();
await telemetry.close();
ledger.close();
rmSync(folder, { recursive: true });
