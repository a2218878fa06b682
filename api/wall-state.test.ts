import { isoTime, minuteMs } from "@jilian/domain/periods.ts";
import { publishResults } from "@jilian/store/live.ts";
import { Value } from "typebox/value";
import { describe, expect, it } from "vitest";
import { createDirectory } from "./directory.ts";
import { openMs } from "./test-app.ts";
import { figure, minuteResults, worldLive, worldNowMs, worldRegistry } from "./test-world.ts";
import { type WallInput, wallState, wallStateSchema } from "./wall-state.ts";

const registry = worldRegistry();

function input(change: Partial<WallInput> = {}): WallInput {
  return {
    registry,
    directory: createDirectory(registry),
    live: worldLive(registry),
    stored: minuteResults(registry),
    firstBirths: [],
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
      zh: "工厂连接数",
      value: "2",
      completeness: null,
      status: "provisional",
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

  it("derives mean power exactly", () => {
    const key = {
      indicator: "energy.electricity",
      level: "cluster",
      entity: "nanhai-aluminium",
      period: "minute",
    } as const;
    const live = worldLive(registry);
    publishResults(
      live,
      [figure(registry, { ...key, startMs: openMs - minuteMs }, { value: "12345678901234567.000001" })],
      0,
    );
    const { power } = wallState(input({ live })).figures;
    expect(power).toMatchObject({ value: "740740734074074020.00006", unit: "kW", dataMs: openMs });
  });

  it("says that there is nothing rather than showing an older period as this one", () => {
    const tomorrow = wallState(input({ nowMs: worldNowMs + 24 * 60 * minuteMs }));
    expect(tomorrow.figures.energyDay).toMatchObject({ value: null, reason: "no_data", dataMs: null });
    expect(tomorrow.figures.devicesOnline.value).toBeNull();
    expect(tomorrow.figures.power).toMatchObject({ value: null, unit: "kW" });
    // Five minutes without news, on the other hand, show the last known with its age.
    const soon = wallState(input({ nowMs: worldNowMs + 5 * minuteMs }));
    expect(soon.figures.devicesOnline).toMatchObject({ value: "4", dataMs: worldNowMs - 1000 });
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
