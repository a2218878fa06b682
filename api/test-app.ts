import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import type { Indicator } from "@jilian/domain/indicators/definition.ts";
import { minuteMs, periodStart } from "@jilian/domain/periods.ts";
import { Status } from "@jilian/domain/quality.ts";
import { openTelemetryHere } from "@jilian/store/duckdb/testing/here.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { LiveState } from "@jilian/store/live.ts";
import type { Registry } from "@jilian/store/registry.ts";
import { versionOf } from "@jilian/store/registry-versions.ts";
import type { LeafRow, SampleRow, SeriesId, Telemetry } from "@jilian/store/telemetry.ts";
import { pino } from "pino";
import { expect } from "vitest";
import type { ApiDeps, App } from "./app.ts";
import type { ApiConfig } from "./config.ts";
import { buildApi } from "./server.ts";
import { createAnswerCheck, type OpenApiDocument } from "./test-openapi.ts";
import { apiKey, metrics, minuteResults, openWorldLedger, worldLive, worldNowMs, worldRegistry } from "./test-world.ts";

/** The app over real stores, filled with the small cluster. */

export type World = {
  app: App;
  config: ApiConfig;
  deps: ApiDeps;
  telemetry: Telemetry;
  ledger: Ledger;
  live: LiveState;
  registry: Registry;
  /** Lines that were logged. */
  lines: string[];
  series: SeriesId[];
  /** GET with the API key; the body as JSON. Every answer is held to the OpenAPI document. */
  get: (url: string) => Promise<{ status: number; body: Record<string, unknown>; headers: Record<string, unknown> }>;
  close: () => Promise<void>;
};

export const openMs = periodStart("minute", worldNowMs);

async function fillTelemetry(telemetry: Telemetry, registry: Registry): Promise<SeriesId[]> {
  const place = { group: "jinlv-1", node: "gw-1" };
  const series = await telemetry.ensureSeries([
    { ...place, device: "meter-1", metric: metrics.energy.name, definition: metrics.energy },
    { ...place, device: "press-1", metric: metrics.parts.name, definition: metrics.parts },
    { ...place, device: "press-1", metric: metrics.running.name, definition: metrics.running },
  ]);
  const [energy = 0, parts = 0, running = 0] = series;
  const times = (sourceTimeMs: number) => ({
    sourceTimeMs,
    gatewayTimeMs: sourceTimeMs + 2,
    ingestTimeMs: sourceTimeMs + 40,
  });
  const samples: SampleRow[] = Array.from({ length: 10 }, (_, i) => ({
    series: energy,
    value: Math.fround(1234.1 + i / 10),
    status: i === 4 ? Status.UncertainLastUsableValue : Status.Good,
    ...times(openMs - 100_000 + i * 10_000),
  }));
  samples.push({ series: energy, value: null, status: Status.BadTimeout, ...times(openMs + 1_001) });
  samples.push({ series: parts, value: 9_007_199_254_740_993n, status: Status.Good, ...times(openMs - 5_000) });
  samples.push({ series: running, value: true, status: Status.Good, ...times(openMs - 5_000) });
  await telemetry.write({ samples, commits: [] });
  const leaves: LeafRow[] = Array.from({ length: 30 }, (_, i) =>
    [energy, parts].map((id) => leafRow(id, openMs - (30 - i) * minuteMs)),
  ).flat();
  await telemetry.writeLeaves(leaves, []);
  await telemetry.writeMinuteResults(minuteResults(registry));
  return series;
}

function leafRow(series: SeriesId, minute: number): LeafRow {
  const counted = {
    amount: 1_000_001n,
    left: 0n,
    right: 0n,
    inGap: false,
    coveredMs: 45_000,
    gapMs: 0,
    samples: 6,
    resets: 0,
  };
  return { series, minuteMs: minute, leaf: counted };
}

export async function openWorld(
  setting: { demo?: boolean; wallPublic?: boolean; catalogue?: readonly Indicator[] } = {},
): Promise<World> {
  const registry = worldRegistry(setting.demo ?? true);
  const { folder, ledger, remove } = openWorldLedger();
  ledger.addRegistryVersion(versionOf(registry, { appliedMs: worldNowMs - 86_400_000, appliedBy: "test" }));
  const path = join(mkdtempSync(join(folder, "telemetry-")), "telemetry.duckdb");
  const telemetry = await openTelemetryHere({ path, memoryLimitMb: 256, threads: 1 });
  const series = await fillTelemetry(telemetry, registry);
  ledger.noteHours([1, 0].map((back) => periodStart("hour", worldNowMs - back * 3_600_000)));
  const live = worldLive(registry);
  const lines: string[] = [];
  const log = pino({ level: "trace" }, { write: (line) => lines.push(line) });
  const config: ApiConfig = {
    host: "127.0.0.1",
    port: 0,
    maxStreams: 5,
    wall: { public: setting.wallPublic ?? false },
  };
  const deps: ApiDeps = {
    ...{ telemetry, ledger, live, registry, clock: { now: () => worldNowMs, rate: 1 }, log },
    ...(setting.catalogue && { catalogue: setting.catalogue }),
  };
  const app = buildApi(config, deps);
  let checkAnswer: ReturnType<typeof createAnswerCheck> | undefined;
  return {
    ...{ app, config, deps, telemetry, ledger, live, registry, lines, series },
    get: async (url) => {
      const reply = await app.inject({ url, headers: { authorization: `Bearer ${apiKey}` } });
      const contentType = String(reply.headers["content-type"]);
      const path = url.split("?")[0] ?? "";
      checkAnswer ??= createAnswerCheck(app.swagger() as unknown as OpenApiDocument);
      const faults = checkAnswer({ path, status: reply.statusCode, contentType, body: reply.json() });
      expect(faults, "answers that the OpenAPI document does not allow").toEqual([]);
      return { status: reply.statusCode, body: reply.json(), headers: reply.headers };
    },
    close: async () => {
      await app.close();
      await telemetry.close();
      ledger.close();
      remove();
    },
  };
}
