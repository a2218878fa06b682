import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataType } from "@jilian/domain/datatypes.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { createEngine } from "@jilian/ingest/kpi/engine.ts";
import { openTelemetry } from "@jilian/store/duckdb/telemetry.ts";
import { readRegistry } from "@jilian/store/registry.ts";
import { followVersions, versionOf } from "@jilian/store/registry-versions.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readSpan, recomputeCommand } from "./recompute-command.ts";

const log = pino({ level: "silent" });
/** 10:00 in Shanghai. */
const t0 = Date.UTC(2026, 10, 22, 2);
const registry = readRegistry(
  `cluster: { id: c, name: 集群 }
pilot: { id: p, name: 试点, demo: false }
enterprises:
  - { id: e, name: 甲, creditCode: 91350100M000100Y43, factories: [{ id: f, name: 厂, gateways: [{ id: g, devices: [
      { id: meter, name: 电表, kind: meter, meteringPoint: incoming }]}]}]}
`,
  "cluster.yaml",
);

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "recompute-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const openStore = () => openTelemetry({ path: join(folder, "t.duckdb"), memoryLimitMb: 128, threads: 1, log });

/** Two hours of a meter, final; then a leaf that no sample says. */
async function prepare() {
  if (!registry.ok) throw new Error(JSON.stringify(registry.faults));
  const ledger = openLedger({ path: join(folder, "ledger.sqlite"), log });
  ledger.addRegistryVersion(versionOf(registry.value));
  const telemetry = await openStore();
  let nowMs = t0;
  const clock = { now: () => nowMs, rate: 1 };
  const versions = followVersions(ledger);
  const setting = { telemetry, ledger, clock, versions, provisionalIntervalMs: 0, txPerTick: 100 };
  const first = await createEngine(setting);
  const definition = { name: "e", datatype: DataType.Double, role: "energy.import", unit: "kWh", simulated: false };
  const key = { group: "f", node: "g", device: "meter", metric: "e", definition };
  const [series = 0] = await telemetry.ensureSeries([key]);
  const samples = Array.from({ length: 121 }, (_, i) => {
    const sourceTimeMs = t0 + i * minuteMs;
    return { series, sourceTimeMs, value: i, status: 0, gatewayTimeMs: sourceTimeMs, ingestTimeMs: sourceTimeMs };
  });
  await telemetry.write({ samples, commits: [] });
  nowMs = t0 + 3 * hourMs;
  while (!(await first.tick({ thorough: true })).caughtUp);
  const [row] = await telemetry.readLeaves([series], t0 + 5 * minuteMs, t0 + 6 * minuteMs);
  if (!row) throw new Error("no leaf");
  await telemetry.writeLeaves([{ ...row, leaf: { ...row.leaf, amount: 7_000_000n } }], []);
  // An engine has the leaves that it wrote in memory: another one reads them.
  await first.close();
  const engine = await createEngine(setting);
  const told: string[] = [];
  const parts = { ledger, clock, hasLock: true, openStore, say: (text: string) => told.push(text), pollMs: 10 };
  return { ledger, telemetry, engine, parts, told };
}

const hour = { indicator: "energy.electricity", level: "factory", entity: "f", period: "hour", startMs: t0 } as const;

it("finds nothing to change where leaves say what samples say, and is done where no service runs", async () => {
  const { ledger, telemetry, engine, parts, told } = await prepare();
  await engine.close();
  await telemetry.close();
  await recomputeCommand({ from: "2026-11-22T11:00+08:00", to: "2026-11-22T12:00+08:00" }, parts);
  expect(told.join("")).toBe(
    "2026-11-22T11:00:00+08:00 to 2026-11-22T12:00:00+08:00 computed again: 0 figures differ.\n",
  );
  expect(ledger.readResult(hour)).toMatchObject({ value: "60", status: "final", revision: 0 });
  ledger.close();
});

it("is done by the service that has the store, which withdraws a figure made of a wrong leaf and says so", async () => {
  const { ledger, telemetry, engine, parts, told } = await prepare();
  // The wrong leaf gets into the figure by a late reading beside it.
  const [{ id: series } = { id: 0 }] = await telemetry.series();
  const late = {
    series,
    sourceTimeMs: t0 + 30 * minuteMs + 1,
    value: 30,
    status: 0,
    gatewayTimeMs: 0,
    ingestTimeMs: 0,
  };
  await telemetry.write({ samples: [late], commits: [] });
  while (!(await engine.tick({ thorough: true })).caughtUp);
  expect(ledger.readResult(hour)).toMatchObject({ value: "66", revision: 1 });
  let running = true;
  const service = (async () => {
    while (running) {
      await engine.tick();
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  await recomputeCommand({ from: "2026-11-22T10:20+08:00" }, parts).finally(() => {
    running = false;
  });
  await service;
  expect(ledger.readResult(hour)).toMatchObject({ value: "60", status: "revised", revision: 2 });
  expect(told.join("")).toContain("hour 2026-11-22T10:00:00+08:00 factory f energy.electricity: 66 -> 60\n");
  expect(told.at(-1)).toMatch(/^2026-11-22T10:00:00\+08:00 to .* computed again: \d+ figures differ\.\n$/);
  await engine.close();
  await telemetry.close();
  ledger.close();
});

it("refuses what is no span, and tells when no service takes it up", async () => {
  const code = (name: string) => expect.objectContaining({ code: name });
  for (const options of [{}, { from: "2026-13-01" }, { from: "2026-11-23" }, { from: "2026-11-22", to: "2026-11-21" }])
    expect(() => readSpan(options, t0)).toThrow(code("RECOMPUTE_RANGE"));
  const { ledger, telemetry, engine, parts } = await prepare();
  const asked = recomputeCommand({ from: "2026-11-22" }, { ...parts, hasLock: false, patienceMs: 30 });
  await expect(asked).rejects.toMatchObject({ code: "RECOMPUTE_WAITS" });
  expect(ledger.nextRecompute()).toMatchObject({ reason: "command", doneMs: null });
  await engine.close();
  await telemetry.close();
  ledger.close();
});
