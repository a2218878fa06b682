import { isoTime, minuteMs } from "@jilian/domain/periods.ts";
import { publishResults } from "@jilian/store/live.ts";
import { Value } from "typebox/value";
import { describe, expect, it } from "vitest";
import { createDirectory } from "./directory.ts";
import { openMs } from "./test-app.ts";
import { figure, metrics, minuteResults, worldLive, worldNowMs, worldRegistry } from "./test-world.ts";
import { type WallInput, wallState, wallStateSchema } from "./wall-state.ts";

const registry = worldRegistry();

function input(change: Partial<WallInput> = {}): WallInput {
  return {
    registry,
    directory: createDirectory(registry),
    live: worldLive(registry),
    stored: minuteResults(registry),
    firstBirths: [],
    alarms: { counts: { active: 0, unknown: 0, unacknowledged: 0 }, open: [] },
    nowMs: worldNowMs,
    clockRate: 1,
    ...change,
  };
}

describe("wallState", () => {
  it("is what its schema says, and names cluster, pilot and demonstration", () => {
    const state = wallState(input({ operator: "集群平台公司" }));
    expect([...Value.Errors(wallStateSchema, state)]).toEqual([]);
    expect(state).toMatchObject({
      ...{ title: "南海铝型材产业集群", pilot: "广东省产业集群数字化转型试点", operator: "集群平台公司", demo: true },
      ...{ factoriesRegistered: 4, registryVersion: registry.version },
    });
    expect(wallState(input({ registry: worldRegistry(false) })).demo).toBe(false);
  });

  it("takes each figure of its own period, with data time, completeness and status", () => {
    const { figures } = wallState(input());
    expect(figures.factoriesConnected).toMatchObject({
      ...{ zh: "工厂连接数", en: "Connected factories", unit: "1", value: "2", reason: null, simulated: true },
      ...{ status: "live", dataMs: null, completeness: null, startMs: null },
    });
    expect(
      [figures.devicesOnline, figures.devicesEverConnected, figures.devicesRegistered].map((f) => f.value),
    ).toEqual(["4", "9", "10"]);
    expect(figures.energyDay).toMatchObject({
      value: "4812.375",
      unit: "kWh",
      completeness: 0.9846,
      dataMs: worldNowMs - 1000,
    });
    expect(figures.energyHour.value).toBe("201.062519");
    expect(figures.comprehensiveDay).toMatchObject({ value: "591.4408875", unit: "kgce", factorTable: "gbt2589-2020" });
    // The last full minute, not the open one; its data time is its end.
    expect(isoTime(figures.energyMinute.startMs ?? 0)).toBe("2026-11-22T14:31:00+08:00");
    expect(figures.energyMinute).toMatchObject({ dataMs: openMs, completeness: 1 });
  });

  it("counts online devices and connected factories as the cards show them now, whatever the minute's figure says", () => {
    const live = worldLive(registry);
    const counts = (nowMs = worldNowMs, from = live, of = registry) => {
      const { figures, factories } = wallState(input({ live: from, nowMs, registry: of }));
      const cards = factories.map((f) => f.devices.filter((d) => d.state === "online").length);
      expect(figures.devicesOnline).toMatchObject({ value: String(cards.reduce((a, b) => a + b)), status: "live" });
      expect(figures.factoriesConnected.value).toBe(String(cards.filter((n) => n > 0).length));
      return cards;
    };
    expect(counts()).toEqual([2, 2, 0, 0]);
    const press = live.devices.get("jinlv-1/gw-1/press-1");
    if (press) press.born = false;
    expect(counts()).toEqual([1, 2, 0, 0]);
    const gateway = live.nodes.get("jinlv-2/gw-1");
    if (gateway) gateway.alive = false;
    expect(counts()).toEqual([1, 0, 0, 0]);
    const meter = live.devices.get("jinlv-1/gw-1/meter-1");
    if (meter) meter.freshUntilMs = worldNowMs - 1000;
    expect(counts()).toEqual([0, 0, 0, 0]);
    expect(counts(worldNowMs + 24 * 60 * minuteMs, worldLive(registry))).toEqual([0, 0, 0, 0]);
  });

  it("does not count a simulator as a machine of a real pilot, on the card and above alike", () => {
    const live = worldLive(registry);
    const series = { id: 1, group: "jinlv-1", node: "gw-1", device: "meter-1", metric: metrics.energy.name };
    const times = { sourceTimeMs: worldNowMs - 1000, gatewayTimeMs: worldNowMs - 1000 };
    live.samples.set(1, { series: { ...series, definition: metrics.energy }, value: 1, status: 0, ...times });
    const of = (demo: boolean) => wallState(input({ live, registry: worldRegistry(demo) }));
    expect(of(true)).toMatchObject({ figures: { devicesOnline: { value: "4" } } });
    const real = of(false);
    expect(real.figures.devicesOnline).toMatchObject({ value: "3", simulated: false });
    expect(real.factories[0]?.devices[0]).toMatchObject({ id: "jinlv-1/gw-1/meter-1", state: "never" });
  });

  it("has today's ratios of the cluster and of each factory, null with a reason in words, never 0", () => {
    const { kpis, factories, reasons } = wallState(input());
    expect(kpis.map((k) => [k.indicator, k.value, k.reason, k.unit])).toEqual([
      ["oee", null, "no_calendar", "1"],
      ["quality.fpy", "0.981234", null, "1"],
      ["quality.scrap_ratio", "0.0125", null, "1"],
      ["energy.unit_product", "0.041234567", null, "kgce/pcs"],
      ["carbon.electricity", "2553.4461375", null, "kgCO2"],
    ]);
    expect(kpis[4]).toMatchObject({ factorTable: "CN grid CO2 2023, national", completeness: 0.9846 });
    expect(factories[0]?.kpis.map((k) => k.value)).toEqual(["0.7825", "0.99", null, null, null]);
    expect(factories[0]?.kpis[2]).toMatchObject({ reason: "no_register", zh: "报废率", startMs: kpis[0]?.startMs });
    // What was not computed is not there, and says so.
    expect(factories[3]?.kpis.map((k) => [k.value, k.reason])).toEqual(Array(5).fill([null, "no_data"]));
    for (const k of [...kpis, ...factories.flatMap((f) => f.kpis)])
      if (k.reason !== null)
        expect(reasons[k.reason]).toMatchObject({ zh: expect.any(String), en: expect.any(String) });
  });

  it("derives mean power exactly", () => {
    const key = {
      indicator: "energy.electricity",
      level: "cluster",
      entity: "nanhai-aluminium",
      period: "minute",
    } as const;
    const live = worldLive(registry);
    publishResults(live, [
      figure(registry, { ...key, startMs: openMs - minuteMs }, { value: "12345678901234567.000001" }),
    ]);
    const { power } = wallState(input({ live })).figures;
    expect(power).toMatchObject({ value: "740740734074074020.00006", unit: "kW", dataMs: openMs });
  });

  it("says that there is nothing rather than showing an older period as this one", () => {
    const tomorrow = wallState(input({ nowMs: worldNowMs + 24 * 60 * minuteMs }));
    expect(tomorrow.figures.energyDay).toMatchObject({ value: null, reason: "no_data", dataMs: null });
    expect(tomorrow.figures.devicesRegistered.value).toBeNull();
    expect(tomorrow.figures.power).toMatchObject({ value: null, unit: "kW" });
    // Five minutes without news, on the other hand, show the last known with its age.
    const soon = wallState(input({ nowMs: worldNowMs + 5 * minuteMs }));
    expect(soon.figures.devicesRegistered).toMatchObject({ value: "10", dataMs: worldNowMs - 1000 });
  });

  it("shows every minute of a factory, null where nothing is known", () => {
    const [jinlv, , huamei, duanzhou] = wallState(input()).factories;
    expect(jinlv?.energyMinutes).toHaveLength(30);
    expect(jinlv?.energyMinutes.map((m) => m.startMs)).toEqual(
      Array.from({ length: 30 }, (_, i) => openMs - (30 - i) * minuteMs),
    );
    expect(jinlv?.energyMinutes.every((m) => m.value !== null)).toBe(true);
    expect(huamei?.energyMinutes.filter((m) => m.value === null)).toHaveLength(8);
    expect(duanzhou?.energyMinute).toMatchObject({ value: null, reason: "no_meter" });
    const bare = wallState(input({ stored: [] })).factories[0]?.energyMinutes;
    expect(bare?.map((m) => m.value)).toEqual(Array.from({ length: 30 }, () => null));
  });

  it("tells gateways and machines: alive, backlog, state, reason, age", () => {
    const { factories } = wallState(input());
    expect(factories[0]).toMatchObject({
      enterprise: "佛山市金铝型材有限公司",
      gateways: [{ name: "挤压车间", alive: true, pendingRecords: 0, droppedSamples: 0, setAsideRecords: null }],
    });
    expect(factories[0]?.devices.map((d) => d.state)).toEqual(["online", "online", "offline", "stale"]);
    expect(factories[0]?.devices[2]?.reason).toMatch(/^MODBUS_CONNECT_REFUSED/);
    expect(factories[0]?.devices[3]?.lastGoodMs).toBe(worldNowMs - 95_000);
    expect(factories[3]).toMatchObject({
      gateways: [{ alive: false, sinceMs: null, pendingRecords: null }],
      devices: [{ state: "never" }],
    });
  });
});
