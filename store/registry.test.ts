import type { MachinePlan } from "@jilian/domain/machine-sums.ts";
import { describe, expect, it } from "vitest";
import { machinePlan, type PlacedDevice, readRegistry } from "./registry.ts";

// The first code is the example of GB 32100-2015, the second is in the public register: their check characters are not of our making.
const text = `cluster: { id: zhuji-socks, name: 诸暨袜业, industry: hosiery }
pilot: { id: zhuji-2026, name: 2026 试点, demo: true }
enterprises:
  - id: e1
    name: 甲袜业
    creditCode: 91350100M000100Y43
    factories:
      - id: f1
        name: 甲一厂
        gateways:
          - id: gw-1
            uplink: 5G CPE
            devices:
              - { id: loom-1, name: 袜机 1, kind: machine }
              - { id: meter-1, name: 总表, kind: meter, meteringPoint: incoming, carrier: electricity, ratedPowerKW: 400 }
          - id: gw-2
            devices:
              - { id: loom-1, name: 袜机 1, kind: machine }
  - id: e2
    name: 乙袜业
    creditCode: 91440200MA4DEM001X
    factories:
      - id: f2
        name: 乙厂
        gateways:
          - id: gw-1
            devices:
              - { id: other-1, name: 温湿度, kind: other }
`;

function faultsOf(changed: string): string[] {
  const checked = readRegistry(changed, "cluster.yaml");
  return checked.ok ? [] : checked.faults.map((f) => `${f.line} ${f.path} ${f.found}: ${f.expected}`);
}

/** The file with some lines (1-based) replaced; a fault is then expected at the line that was changed. */
function withLines(changes: Record<number, string>): string {
  const lines = text.split("\n");
  for (const [line, content] of Object.entries(changes)) lines[Number(line) - 1] = content;
  return lines.join("\n");
}

describe("a good registry", () => {
  const checked = readRegistry(text, "cluster.yaml");
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
  const registry = checked.value;

  it("is indexed by place", () => {
    expect([...registry.devices.keys()]).toEqual([
      "f1/gw-1/loom-1",
      "f1/gw-1/meter-1",
      "f1/gw-2/loom-1",
      "f2/gw-1/other-1",
    ]);
    expect(registry.devices.get("f1/gw-1/meter-1")).toEqual({
      device: {
        id: "meter-1",
        name: "总表",
        kind: "meter",
        meteringPoint: "incoming",
        carrier: "electricity",
        ratedPowerKW: 400,
      },
      enterpriseId: "e1",
      factoryId: "f1",
      gatewayId: "gw-1",
    });
    expect([...registry.factories.values()]).toEqual([
      { id: "f1", name: "甲一厂", enterpriseId: "e1", creditCode: "91350100M000100Y43" },
      { id: "f2", name: "乙厂", enterpriseId: "e2", creditCode: "91440200MA4DEM001X" },
    ]);
    expect([...registry.gateways]).toEqual(["f1/gw-1", "f1/gw-2", "f2/gw-1"]);
    expect(registry.demo).toBe(true);
  });

  it("has a version that follows its content, and not its layout or comments", () => {
    expect(registry.version).toMatch(/^[0-9a-f]{12}$/);
    const version = (changed: string) => {
      const again = readRegistry(changed, "other-name.yaml");
      return again.ok ? again.value.version : undefined;
    };
    expect(version(`# a comment\n${text.replaceAll("{ ", "{").replaceAll(" }", "}")}`)).toBe(registry.version);
    expect(version(text.replace("ratedPowerKW: 400", "ratedPowerKW: 500"))).not.toBe(registry.version);
    expect(version(text.replace("demo: true", "demo: false"))).not.toBe(registry.version);
  });
});

describe("a bad registry", () => {
  it("has every fault of the schema told at once with its line", () => {
    const changed = withLines({
      1: "cluster: { id: Zhuji, name: x }",
      2: "pilot: { id: p, name: x, demo: yes please }",
      5: '    name: ""',
      12: "            up_link: 5G CPE",
      14: "              - { id: loom-1, name: 袜机 1, kind: robot }",
      15: "              - { id: meter-1, kind: meter, meteringPoint: roof, carrier: coal, ratedPowerKW: 0 }",
      27: "            devices: []",
      28: "",
    });
    expect(faultsOf(changed).map((f) => f.split(":")[0])).toEqual([
      '1 /cluster/id "Zhuji"',
      '2 /pilot/demo "yes please"',
      '5 /enterprises/0/name ""',
      '12 /enterprises/0/factories/0/gateways/0/up_link "5G CPE"',
      '14 /enterprises/0/factories/0/gateways/0/devices/0/kind "robot"',
      "15 /enterprises/0/factories/0/gateways/0/devices/1/name nothing",
      '15 /enterprises/0/factories/0/gateways/0/devices/1/meteringPoint "roof"',
      '15 /enterprises/0/factories/0/gateways/0/devices/1/carrier "coal"',
      "15 /enterprises/0/factories/0/gateways/0/devices/1/ratedPowerKW 0",
      "27 /enterprises/1/factories/0/gateways/0/devices []",
    ]);
  });

  it("has everything that a schema cannot express told at once with its line", () => {
    const changed = withLines({
      6: "    creditCode: 91350100M000100Y4X",
      14: "              - { id: loom-1, name: 袜机 1, kind: machine, meteringPoint: feeder }",
      15: "              - { id: loom-1, name: 总表, kind: meter }",
      16: "          - id: gw-1",
      19: "  - id: e1",
      21: "    creditCode: 91350100M000100Y4X",
      23: "      - id: f1",
    });
    const [first, second] = ["/enterprises/0/factories/0", "/enterprises/1/factories/0"];
    expect(faultsOf(changed)).toEqual([
      '6 /enterprises/0/creditCode "91350100M000100Y4X": check character 3 after these 17',
      `14 ${first}/gateways/0/devices/0/meteringPoint "feeder": nothing: only meters have one`,
      `15 ${first}/gateways/0/devices/1/id "loom-1": a device id of this gateway used once (already at ${first}/gateways/0/devices/0)`,
      `15 ${first}/gateways/0/devices/1/meteringPoint nothing: "incoming" or "feeder"`,
      `16 ${first}/gateways/1/id "gw-1": a gateway id of this factory used once (already at ${first}/gateways/0)`,
      '19 /enterprises/1/id "e1": a enterprise id used once (already at /enterprises/0)',
      '21 /enterprises/1/creditCode "91350100M000100Y4X": a credit code used once (already at /enterprises/0)',
      '21 /enterprises/1/creditCode "91350100M000100Y4X": check character 3 after these 17',
      `23 ${second}/id "f1": a factory id used once in the cluster (already at ${first}/id)`,
    ]);
  });

  it.each(["91350100M000100Y4", "91350100I000100Y43", "91350100m000100y43", "91350100M000100Y433"])(
    "refuses the credit code %s",
    (code) => {
      const faults = faultsOf(withLines({ 6: `    creditCode: ${code}` }));
      expect(faults).toHaveLength(1);
      expect(faults[0]).toMatch(/^6 \/enterprises\/0\/creditCode/);
    },
  );

  it("asks for quotes where YAML reads a code as a number", () => {
    expect(faultsOf(withLines({ 21: "    creditCode: 914402000000010050" }))).toEqual([
      expect.stringMatching(/^21 \/enterprises\/1\/creditCode 914402000000010\d+: string/),
    ]);
    expect(faultsOf(withLines({ 21: '    creditCode: "914402000000010050"' }))).toEqual([]);
  });
});

describe("machines in the registry", () => {
  const machines = `cluster: { id: c, name: 集群, gridRegion: south }
pilot: { id: p, name: 试点, demo: true }
enterprises:
  - id: e1
    name: 甲
    creditCode: 91350100M000100Y43
    factories:
      - id: f1
        name: 甲一厂
        calendar:
          shifts:
            - { days: [mon, tue, wed, thu, fri], from: "08:00", to: "20:00" }
            - { days: [fri], from: "20:00", to: "08:00" }
          exceptions:
            - { date: 2026-10-01, untilDate: 2026-10-08, shifts: [] }
            - { date: 2026-10-10, shifts: [{ from: "08:00", to: "24:00" }] }
        gateways:
          - id: gw-1
            devices:
              - { id: m1, name: 一, kind: machine, states: { running: [1, RUN] }, plannedRunTimePerItemMs: 1500.25, output: true }
              - { id: m2, name: 二, kind: machine, plannedRunTimePerItemMs: { a: 900, b: 0.5 }, calendar: { shifts: [] } }
              - { id: m3, name: 三, kind: machine }
              - { id: meter, name: 表, kind: meter, meteringPoint: incoming }
`;

  function replaced(changes: Record<number, string>): string {
    const lines = machines.split("\n");
    for (const [line, content] of Object.entries(changes)) lines[Number(line) - 1] = content;
    return lines.join("\n");
  }

  it("tell what figures of equipment need; what they do not tell stays unknown", () => {
    const checked = readRegistry(machines, "cluster.yaml");
    if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
    const { devices, gridRegion } = checked.value;
    expect(gridRegion).toBe("south");
    const plans = ["m1", "m2", "m3"].map((id) => machinePlan(devices.get(`f1/gw-1/${id}`) as PlacedDevice));
    const [m1, m2, m3] = plans as [MachinePlan, MachinePlan, MachinePlan];
    expect(m1.runningCodes).toEqual(new Set(["1", "RUN"]));
    expect(["a", undefined].map((product) => m1.plannedRunTime?.(product))).toEqual([1_500_250_000n, 1_500_250_000n]);
    expect(m1.calendar?.shifts).toHaveLength(2);
    expect(m1.calendar).toBe(m3.calendar);
    expect(["a", "b", "c", undefined].map((product) => m2.plannedRunTime?.(product))).toEqual([
      900_000_000n,
      500_000n,
      undefined,
      undefined,
    ]);
    expect(m2.calendar).toEqual({ shifts: [] });
    expect(m3.runningCodes).toBeUndefined();
    expect(m3.plannedRunTime).toBeUndefined();
    const bare = readRegistry(text, "cluster.yaml");
    if (!bare.ok) throw new Error("faults");
    expect(bare.value.gridRegion).toBe("national");
    expect(machinePlan(bare.value.devices.get("f1/gw-1/loom-1") as PlacedDevice).calendar).toBeUndefined();
  });

  it("have every fault told at once with its line", () => {
    const changed = replaced({
      1: "cluster: { id: c, name: 集群, gridRegion: mars }",
      12: '            - { days: [mon, sunday], from: "8:00", to: "24:01" }',
      13: "            - { days: [], to: 20 }",
      15: "            - { date: 1. Oktober, shifts: [] }",
      20: "              - { id: m1, name: 一, kind: machine, states: { running: [] }, plannedRunTimePerItemMs: 0, output: 1 }",
      21: "              - { id: m2, name: 二, kind: machine, plannedRunTimePerItemMs: { a: fast }, states: { runing: [1] } }",
    });
    const at = "/enterprises/0/factories/0";
    expect(faultsOf(changed).map((f) => f.split(": ")[0])).toEqual([
      '1 /cluster/gridRegion "mars"',
      `12 ${at}/calendar/shifts/0/days/1 "sunday"`,
      `12 ${at}/calendar/shifts/0/from "8:00"`,
      `12 ${at}/calendar/shifts/0/to "24:01"`,
      `13 ${at}/calendar/shifts/1/from nothing`,
      `13 ${at}/calendar/shifts/1/days []`,
      `13 ${at}/calendar/shifts/1/to 20`,
      `15 ${at}/calendar/exceptions/0/date "1. Oktober"`,
      `20 ${at}/gateways/0/devices/0/states/running []`,
      `20 ${at}/gateways/0/devices/0/plannedRunTimePerItemMs 0`,
      `20 ${at}/gateways/0/devices/0/output 1`,
      `21 ${at}/gateways/0/devices/1/states/running nothing`,
      `21 ${at}/gateways/0/devices/1/states/runing [1]`,
      `21 ${at}/gateways/0/devices/1/plannedRunTimePerItemMs {"a":"fast"}`,
    ]);
  });

  it("have what a schema cannot express told too", () => {
    const changed = replaced({
      12: '            - { days: [mon, mon], from: "24:00", to: "20:00" }',
      15: "            - { date: 2026-02-29, untilDate: 2026-10-08, shifts: [] }",
      16: '            - { date: 2026-10-10, untilDate: 2026-10-09, shifts: [{ from: "24:00", to: "24:00" }] }',
      17: "            - { date: 2026-12-24, untilDate: 2026-12-31, shifts: [] }\n            - { date: 2026-12-31, shifts: [] }\n        gateways:",
      20: "              - { id: m1, name: 一, kind: machine, states: { running: [1, 2, 1] } }",
      23: "              - { id: meter, name: 表, kind: meter, meteringPoint: incoming, output: true, states: { running: [1] } }",
    });
    const at = "/enterprises/0/factories/0";
    expect(faultsOf(changed).map((f) => f.split(": ")[0])).toEqual([
      `12 ${at}/calendar/shifts/0/from "24:00"`,
      `12 ${at}/calendar/shifts/0/days/1 "mon"`,
      `15 ${at}/calendar/exceptions/0/date "2026-02-29"`,
      `16 ${at}/calendar/exceptions/1/shifts/0/from "24:00"`,
      `16 ${at}/calendar/exceptions/1/untilDate "2026-10-09"`,
      `18 ${at}/calendar/exceptions/3/date "2026-12-31"`,
      `22 ${at}/gateways/0/devices/0/states/running/2 1`,
      `25 ${at}/gateways/0/devices/3/states {"running":[1]}`,
      `25 ${at}/gateways/0/devices/3/output true`,
    ]);
  });
});
