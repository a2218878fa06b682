import { DataType } from "@jilian/domain/datatypes.ts";
import { describe, expect, it } from "vitest";
import { readRegistry } from "./registry.ts";
import { type AlarmRule, conditionOf, type WatchedSeries, watches } from "./registry-alarms.ts";

const text = (alarms: string) => `cluster: { id: c, name: 集群 }
pilot: { id: p, name: 试点, demo: false }
alarms:
${alarms}
enterprises:
  - id: e1
    name: 甲
    creditCode: 91350100M000100Y43
    factories:
      - id: f1
        name: 甲一厂
        gateways:
          - id: gw-1
            devices:
              - { id: press, name: 压机, kind: machine }
`;

const faultsOf = (alarms: string) => {
  const checked = readRegistry(text(alarms), "cluster.yaml");
  return checked.ok ? [] : checked.faults.map(({ line, path, expected }) => `${line} ${path}: ${expected}`);
};

const rules = `
  - { id: hot, name: { zh: 过热, en: Too hot }, priority: high, kind: threshold, above: 80.5, hysteresis: 2, applies: { role: temperature, deviceKind: machine, factories: [f1] }, onDelayMs: 5000 }
  - { id: falling, name: { zh: 压力骤降 }, priority: urgent, kind: rate, fallPerMinute: 5, windowMs: 30000, applies: { device: f1/gw-1/press, metric: pressure } }
  - { id: fault, name: { zh: 故障 }, priority: medium, kind: state, codes: [4, ERR], applies: { role: machine.state }, offDelayMs: 1000 }
`;

const series = (over: Partial<WatchedSeries>): WatchedSeries => ({
  device: "f1/gw-1/press",
  factoryId: "f1",
  deviceKind: "machine",
  metric: "t",
  definition: { name: "t", datatype: DataType.Double, role: "temperature", unit: "°C", simulated: false },
  ...over,
});

describe("alarm rules", () => {
  it("are read, and become what a series is judged by, exactly", () => {
    const checked = readRegistry(text(rules), "cluster.yaml");
    expect(checked.ok).toBe(true);
    const own = (checked.ok ? checked.value.file.alarms : []) as [AlarmRule, AlarmRule, AlarmRule];
    const { definition } = series({});
    expect(own.map((rule) => conditionOf(rule, definition))).toEqual([
      {
        test: { kind: "threshold", above: 80_500_000n, below: undefined, hysteresis: 2_000_000n },
        ...{ onDelayMs: 5000, offDelayMs: 0, staleMs: 30_000 },
      },
      {
        test: { kind: "rate", rise: undefined, fall: 5_000_000n, windowMs: 30_000 },
        ...{ onDelayMs: 0, offDelayMs: 0, staleMs: 30_000 },
      },
      { test: { kind: "state", codes: new Set(["4", "ERR"]) }, onDelayMs: 0, offDelayMs: 1000, staleMs: 30_000 },
    ]);
    expect(conditionOf(own[0], { ...definition, heartbeatMs: 86_400_000 }).staleMs).toBe(3_600_000);
  });

  it("watch the series of a role in its unit, or one metric of one device", () => {
    const checked = readRegistry(text(rules), "cluster.yaml");
    const [hot, falling] = (checked.ok ? checked.value.file.alarms : []) as [AlarmRule, AlarmRule];
    const { definition } = series({});
    expect(watches(hot, series({}))).toBe(true);
    expect(watches(hot, series({ definition: { ...definition, unit: "°F" } }))).toBe(false);
    expect(watches(hot, series({ deviceKind: "meter" }))).toBe(false);
    expect(watches(hot, series({ factoryId: "f2" }))).toBe(false);
    expect(watches(falling, series({}))).toBe(false);
    expect(watches(falling, series({ metric: "pressure" }))).toBe(true);
    expect(watches(falling, series({ metric: "pressure", device: "f1/gw-1/other" }))).toBe(false);
  });
});

describe("faults of alarm rules", () => {
  it("of references, roles and limits are all told at once", () => {
    expect(
      faultsOf(`
  - { id: a, name: { zh: 甲 }, priority: high, kind: threshold, above: 1, below: 2, applies: { role: temperature, factories: [f9, f1, f1] } }
  - { id: a, name: { zh: 乙 }, priority: low, kind: threshold, applies: { role: energy.import } }
  - { id: c, name: { zh: 丙 }, priority: low, kind: rate, risePerMinute: -1, windowMs: 5000, applies: { device: f1/gw-1/lathe, metric: m, factories: [f1] } }
  - { id: d, name: { zh: 丁 }, priority: low, kind: state, codes: [1, 1], applies: { role: machine.state, device: f1/gw-1/press, metric: m } }
  - { id: e, name: { zh: 戊 }, priority: low, kind: threshold, above: 0.1234567, applies: { device: f1/gw-1/press } }
  - { id: f, name: { zh: 己 }, priority: low, kind: state, codes: [1], applies: { role: machine.state, deviceKind: meter } }`),
    ).toEqual([
      "5 /alarms/0/applies/factories/0: a factory of this registry: f1",
      "5 /alarms/0/applies/factories/2: a factory named once",
      "5 /alarms/0: either above or below",
      "6 /alarms/1/id: a rule id used once (already at /alarms/0)",
      "6 /alarms/1/applies/role: a role of a gauge: power.active, temperature",
      "6 /alarms/1: either above or below",
      "7 /alarms/2/applies/device: a device of this registry: f1/gw-1/press",
      "7 /alarms/2/applies/factories: nothing: it narrows a role",
      "7 /alarms/2/risePerMinute: more than 0",
      "8 /alarms/3/applies: either role, or device and metric",
      "8 /alarms/3/codes/1: a state code named once",
      "9 /alarms/4/applies: device and metric together",
      "9 /alarms/4/above: at most 6 decimal places",
      "10 /alarms/5/applies/deviceKind: machine: only machines have a state",
    ]);
  });

  it("of shape name the kind's own keys", () => {
    expect(
      faultsOf(`
  - { id: a, name: { zh: 甲 }, priority: critical, kind: threshold, above: 1, applies: { role: temperature } }
  - { id: b, name: { zh: 乙 }, priority: low, kind: rate, risePerMinute: 1, applies: { role: temperature } }
  - { id: c, name: { zh: 丙 }, priority: low, kind: step, applies: { role: temperature } }
  - { id: d, name: 丁, priority: low, kind: state, codes: [1], applies: { role: machine.state }, onDelayMs: -1 }`),
    ).toEqual([
      '5 /alarms/0/priority: one of "urgent", "high", "medium", "low"',
      "6 /alarms/1/windowMs: integer >= 1000 <= 3600000 (over so long, ms)",
      '7 /alarms/2/kind: one of "threshold", "rate", "state"',
      expect.stringContaining("8 /alarms/3/name: object"),
      expect.stringContaining("8 /alarms/3/onDelayMs: integer >= 0"),
    ]);
  });
});
