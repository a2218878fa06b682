import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noCounts } from "@jilian/domain/account.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { emptyLeaf } from "@jilian/domain/leaf.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { openTelemetryHere } from "@jilian/store/duckdb/testing/here.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { createLiveState } from "@jilian/store/live.ts";
import { indexRegistry, readRegistry } from "@jilian/store/registry.ts";
import type { AlarmRule } from "@jilian/store/registry-alarms.ts";
import { onlyVersion } from "@jilian/store/registry-versions.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import type { SeriesId, Telemetry } from "@jilian/store/telemetry.ts";
import { pino } from "pino";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readDeviceFigures } from "./device-pages.ts";
import type { FigureKey, FigureQuery } from "./read-figures.ts";

/** 10:00 in Shanghai, a Sunday. */
const startMs = Date.UTC(2026, 10, 22, 2);
const folder = mkdtempSync(join(tmpdir(), "jilian-device-pages-"));
const checked = readRegistry(
  `cluster: { id: c, name: 集群 }
pilot: { id: p, name: 试点, demo: true }
enterprises:
  - id: e
    name: 甲
    creditCode: 91350100M000100Y43
    factories:
      - id: f
        name: 厂
        calendar: { shifts: [{ days: [sun], from: "10:00", to: "10:30" }] }
        gateways:
          - id: g
            devices:
              - { id: press, name: 冲床, kind: machine, states: { running: [1] }, plannedRunTimePerItemMs: 1000 }
              - { id: oven, name: 炉, kind: machine }
`,
  "cluster.yaml",
);
if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
const registry = checked.value;
const live = createLiveState();
let telemetry: Telemetry;
let ledger: Ledger;
let ids: SeriesId[];

beforeAll(async () => {
  telemetry = await openTelemetryHere({ path: join(folder, "t.duckdb"), memoryLimitMb: 128, threads: 1 });
  ledger = openLedger({ path: join(folder, "ledger.sqlite"), log: pino({ level: "silent" }) });
  const series = (device: string, metric: string, role: string) => {
    const unit = role.startsWith("production") ? { unit: "pcs" } : {};
    const definition = { name: metric, datatype: DataType.Int64, role, ...unit, simulated: device === "press" };
    return { group: "f", node: "g", device, metric, definition };
  };
  ids = await telemetry.ensureSeries([
    series("press", "total", "production.total"),
    series("press", "good", "production.good"),
    series("press", "state", "machine.state"),
    series("oven", "heat", "temperature"),
  ]);
  const [total = 0, good = 0, state = 0] = ids;
  const minutes = Array.from({ length: 60 }, (_, m) => startMs + m * minuteMs);
  const leaf = (series: SeriesId, at: number, pieces: bigint) => ({
    series,
    minuteMs: at,
    leaf: { ...emptyLeaf, amount: pieces * 1_000_000n, coveredMs: minuteMs, samples: 6 },
  });
  ledger.noteHours([startMs]);
  await telemetry.writeLeaves(
    minutes.flatMap((at) => [leaf(total, at, 30n), leaf(good, at, 24n)]),
    [],
    minutes.map((at) => ({
      series: state,
      minuteMs: at,
      leaf: { ms: { "1": 45_000, "2": 15_000 }, unknownMs: 0, samples: 6 },
    })),
  );
});
afterAll(async () => {
  await telemetry.close();
  ledger.close();
  rmSync(folder, { recursive: true, force: true });
});

async function figures(more: Partial<FigureQuery>, limit = 1000, nowMs = startMs + 2 * hourMs, own = registry) {
  const query = { level: "device", period: "hour", fromMs: startMs, toMs: startMs + hourMs, ...more } as const;
  const found = [];
  let after: FigureKey | undefined;
  do {
    const page = await readDeviceFigures(query, after, limit, nowMs, {
      ...{ telemetry, ledger, live },
      versions: onlyVersion(own),
    });
    found.push(...page.results);
    after = page.next;
  } while (after);
  return found;
}

it("serves the ratios of machines beside their counters, in the order of all figures", async () => {
  const found = await figures({});
  expect(found.map((r) => [r.indicator, r.value ?? r.reason])).toEqual([
    ["oee", "0.4"],
    ["oee.availability", "0.75"],
    ["oee.effectiveness", "0.666667"],
    ["oee.nee", "no_setup_state"],
    ["oee.quality", "0.8"],
    ["production.good", "1440"],
    ["production.total", "1800"],
    ["quality.cp", "no_limits"],
    ["quality.cpk", "no_limits"],
    ["quality.fpy", "no_register"],
    ["quality.ratio", "0.8"],
    ["quality.rework_ratio", "no_register"],
    ["quality.scrap_ratio", "no_register"],
  ]);
  expect(new Set(found.map((r) => r.entity))).toEqual(new Set(["f/g/press"]));
  expect(found[0]).toMatchObject({
    status: "final",
    completeness: 1,
    simulated: true,
    definitionVersion: 1,
    unit: "1",
  });
});

it("pages them like all others, and finds one by its name", async () => {
  const whole = await figures({ toMs: startMs + 3 * hourMs });
  for (const limit of [1, 7]) expect(await figures({ toMs: startMs + 3 * hourMs }, limit)).toEqual(whole);
  expect(await figures({ indicator: "oee" })).toEqual(
    whole.filter((r) => r.indicator === "oee" && r.startMs === startMs),
  );
  expect(await figures({ entity: "f/g/oven" })).toEqual([]);
});

it("are at most as complete as what is stored of the hour, and their values stay", async () => {
  const whole = await figures({ toMs: startMs + 2 * hourMs });
  const account = { ...noCounts, hourMs: startMs, part: "0000000a", gapMs: {}, queued: 1000 };
  ledger.writeAccounts([{ device: "f/g/press", sourceTimeMs: 1, account }]);
  ledger.writeStored([{ device: "f/g/press", hourMs: startMs, stored: 600 }]);
  const now = await figures({ toMs: startMs + 2 * hourMs });
  const expected = whole.map((one) =>
    one.startMs === startMs && one.completeness === 1 ? { ...one, completeness: 0.6 } : one,
  );
  expect(now).toEqual(expected);
  expect(now.filter((one) => one.completeness === 0.6).length).toBeGreaterThan(5);
  ledger.writeStored([{ device: "f/g/press", hourMs: startMs, stored: 1000 }]);
  expect(await figures({ toMs: startMs + 2 * hourMs })).toEqual(whole);
});

it("has none for minutes, and one for the day", async () => {
  const minutes = await figures({ period: "minute" });
  expect(new Set(minutes.map((r) => r.indicator))).toEqual(new Set(["production.good", "production.total"]));
  const dayMs = startMs - 10 * hourMs;
  const [day] = await figures({ period: "day", indicator: "oee", fromMs: dayMs, toMs: dayMs + 1 });
  // The same half hour is planned; it was all there is.
  expect(day).toMatchObject({ value: "0.4", status: "provisional" });
});

it("counts the alarms of a device that a rule watches, machine or not, also in minutes", async () => {
  const rule: AlarmRule = {
    ...{ id: "hot", name: { zh: "过热" }, priority: "high", kind: "threshold", above: 80 },
    applies: { device: "f/g/oven", metric: "heat" },
  };
  const own = indexRegistry({ ...registry.file, alarms: [rule] });
  const peak = { peak: 81_000_000n, peakMs: startMs + 30_000 };
  const event = (fromMs: number, toMs: number | undefined) => ({
    ...{ parts: [{ fromMs, toMs, ...peak }], clearedMs: toMs, ending: undefined, ...peak },
  });
  const track = { rule: "hot", device: "f/g/oven", metric: "heat" };
  const facts = { kind: "threshold", priority: "high", zh: "过热", en: null, unit: "°C" } as const;
  ledger.writeAlarms(
    [event(startMs + 30_000, startMs + 90_000), event(startMs + hourMs - minuteMs, undefined)].map((one) => ({
      ...{ id: undefined, track, event: one },
      facts: { ...facts, registryVersion: own.version, simulated: false },
    })),
    startMs,
  );
  const told = async (more: Partial<FigureQuery>) =>
    (await figures({ entity: "f/g/oven", ...more }, 1000, startMs + 2 * hourMs, own)).map(({ indicator, value }) => [
      indicator,
      value,
    ]);
  expect(await told({})).toEqual([
    ["alarms.active_time", "2"],
    ["alarms.raised", "2"],
  ]);
  expect(await told({ period: "minute", indicator: "alarms.active_time", toMs: startMs + 3 * minuteMs })).toEqual(
    ["0.5", "0.5", "0"].map((value) => ["alarms.active_time", value]),
  );
});

it("has each minute by what births said then, a counter whose product changed as one", async () => {
  const key = { group: "f", node: "g", device: "oven", metric: "n" };
  const pieces = { name: "n", datatype: DataType.Int64, role: "production.good", unit: "pcs", simulated: false };
  const [half, end] = [startMs + 30 * minuteMs, startMs + 50 * minuteMs];
  const [id = 0] = await telemetry.ensureSeries([
    { ...key, definition: { ...pieces, product: "a" }, sinceMs: startMs },
    { ...key, definition: { ...pieces, product: "b" }, sinceMs: half },
    { ...key, definition: { ...pieces, role: "production.scrap" }, sinceMs: end },
  ]);
  const made = { ...emptyLeaf, amount: 1_000_000n, coveredMs: minuteMs, samples: 6 };
  const minutes = Array.from({ length: 60 }, (_, m) => startMs + m * minuteMs);
  await telemetry.writeLeaves(
    minutes.map((minute) => ({ series: id, minuteMs: minute, leaf: made })),
    [],
  );
  const of = async (period: FigureQuery["period"], indicator: string) =>
    (await figures({ entity: "f/g/oven", indicator, period })).map((r) => [r.value, r.completeness]);
  expect(await of("hour", "production.good")).toEqual([["50", 0.8333]]);
  expect(await of("hour", "production.scrap")).toEqual([["10", 0.1667]]);
  expect(await of("quarter_hour", "production.good")).toEqual([
    ["15", 1],
    ["15", 1],
    ["15", 1],
    ["5", 0.3333],
  ]);
  const minute = (await of("minute", "production.scrap")).map(([value]) => value);
  expect(minute).toEqual(minutes.map((at) => (at < end ? null : "1")));
});
