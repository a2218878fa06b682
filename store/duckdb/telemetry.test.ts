import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { telemetrySuite } from "../telemetry-suite.ts";
import { connectTelemetry } from "../thread/owner.ts";
import { openTelemetry } from "./telemetry.ts";

telemetrySuite("DuckDB", async () => {
  const folder = mkdtempSync(join(tmpdir(), "jilian-telemetry-"));
  const log = pino({ level: "silent" });
  return {
    open: () => openTelemetry({ path: join(folder, "telemetry.duckdb"), memoryLimitMb: 256, threads: 1, log }),
    connect: connectTelemetry,
    remove: async () => rmSync(folder, { recursive: true, force: true }),
  };
});
