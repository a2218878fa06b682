import { describe, expect, it } from "vitest";
import { isProductionDevice, machinePlan, type PlacedDevice, readRegistry } from "./registry.ts";

const text = `cluster: { id: c, name: 集群 }
pilot:
  id: p
  name: 试点
  demo: false
  periods:
    - { id: y1, name: 第一年, from: 2023-11-01, until: 2024-10-31 }
    - { id: y2, from: 2024-11-01, until: 2025-10-31 }
  thresholds: { effectiveDays: 10, windowDays: 15 }
products:
  - { id: gear-12, name: 齿轮, unit: pcs, plannedRunTimePerItemMs: 1200 }
  - { id: shaft, name: 轴, unit: t }
enterprises:
  - id: e1
    name: 甲
    creditCode: 91350100M000100Y43
    industryCode: C3252
    sizeClass: small
    keyLink: true
    digitalLevel: { level: L7, evaluator: 评价机构, date: 2024-02-29 }
    factories:
      - id: f1
        name: 甲一厂
        coordinates: { longitude: 113.6, latitude: 24.8 }
        calendar: { shifts: [{ days: [mon], name: 早班, from: "08:00", to: "20:00" }] }
        tariff:
          periods:
            - { kind: valley, from: "22:00", to: "08:00" }
            - { kind: flat, from: "08:00", to: "22:00", months: [1, 2, 3, 4, 5, 6, 10, 11, 12] }
            - { kind: peak, from: "08:00", to: "22:00", months: [7, 8, 9] }
          pricesCNYPerKWh: { valley: 0.25, flat: 0.6652, peak: 1.1309 }
        standardCoalFactors: { gas: 1.2143 }
        lines: [{ id: l1, name: 一线 }, { id: l2, name: 二线 }]
        gateways:
          - id: gw-1
            box: { model: B1, serial: "0042" }
            uplink: { kind: industrial_5g_cpe, slice: s1, mec: m1 }
            devices:
              - { id: main, name: 总表, kind: meter, meteringPoint: incoming, ctRatio: 800/5, ptRatio: 100, modulus: "100000000000.000000001" }
              - id: sub
                name: 分表
                kind: meter
                meteringPoint: feeder
                line: l1
                ratedPowerKW: 90
                calibratedOn: 2024-01-01
                calibrationDueOn: 2024-01-01
                exchanges:
                  - { at: "2024-03-01T10:00:00+08:00", oldFinal: 99.5, newInitial: 0 }
                  - { at: "2024-03-01T02:00:00.001Z", oldFinal: "12345678901234567.25", newInitial: 1 }
              - { id: press, name: 压机, kind: machine, line: l1, keyProcess: true, products: [gear-12], capability: { metric: d, upperLimit: 2 } }
              - { id: lathe, name: 车床, kind: machine, production: false, plannedRunTimePerItemMs: { shaft: 5 } }
          - id: gw-2
            uplink: 5G CPE
            devices:
              - { id: sub2, name: 分表二, kind: meter, meteringPoint: feeder, parent: gw-1/sub }
              - { id: gas, name: 气表, kind: meter, meteringPoint: feeder, carrier: gas }
`;

function withLines(changes: Record<number, string>): string {
  const lines = text.split("\n");
  for (const [line, content] of Object.entries(changes)) lines[Number(line) - 1] = content;
  return lines.join("\n");
}

function faultsOf(changes: Record<number, string>): string[] {
  const checked = readRegistry(withLines(changes), "cluster.yaml");
  return checked.ok ? [] : checked.faults.map((f) => `${f.line} ${f.path}: ${f.expected}`);
}

describe("lines, meters, products and periods", () => {
  const checked = readRegistry(text, "cluster.yaml");
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
  const registry = checked.value;

  it("are indexed for figures", () => {
    expect([...registry.lines.values()].map(({ key, name, devices }) => [key, name, devices])).toEqual([
      ["f1/l1", "一线", ["f1/gw-1/sub", "f1/gw-1/press"]],
      ["f1/l2", "二线", []],
    ]);
    expect(registry.devices.get("f1/gw-1/press")?.lineKey).toBe("f1/l1");
    expect(registry.factories.get("f1")).toMatchObject({
      creditCode: "91350100M000100Y43",
      standardCoalFactors: { gas: 1.2143 },
    });
    expect(registry.factories.get("f1")?.calendar?.shifts[0]?.name).toBe("早班");
    expect(registry.factories.get("f1")?.tariff?.periods).toHaveLength(3);
    expect(registry.pilotPeriods).toEqual([
      {
        id: "y1",
        name: "第一年",
        fromMs: Date.parse("2023-10-31T16:00:00Z"),
        toMs: Date.parse("2024-10-31T16:00:00Z"),
      },
      { id: "y2", name: "y2", fromMs: Date.parse("2024-10-31T16:00:00Z"), toMs: Date.parse("2025-10-31T16:00:00Z") },
    ]);
    expect(registry.thresholds).toEqual({
      ...{ collectionRate: 0.9, effectiveDays: 10, windowDays: 15, completeness: 0.9, meterBalance: 0.05 },
    });
  });

  it("know the meter above each, also over gateways, and every digit of a reading", () => {
    const meters = [...registry.meters].map(([key, { parent, carrier }]) => [key, parent, carrier]);
    expect(meters).toEqual([
      ["f1/gw-1/main", undefined, "electricity"],
      ["f1/gw-1/sub", "f1/gw-1/main", "electricity"],
      ["f1/gw-2/sub2", "f1/gw-1/sub", "electricity"],
      ["f1/gw-2/gas", undefined, "gas"],
    ]);
    expect(registry.meters.get("f1/gw-1/main")).toMatchObject({
      ...{ ctRatio: "800/5", ptRatio: 100, modulus: "100000000000.000000001" },
    });
    expect(registry.meters.get("f1/gw-1/sub")).toMatchObject({
      ratedPowerKW: 90,
      calibrationDueOn: "2024-01-01",
      exchanges: [
        { atMs: Date.parse("2024-03-01T02:00:00Z"), oldFinal: 99.5, newInitial: 0 },
        { atMs: Date.parse("2024-03-01T02:00:00.001Z"), oldFinal: "12345678901234567.25", newInitial: 1 },
      ],
    });
  });

  it("give machines the planned run times of their products, and none of others'", () => {
    const planOf = (id: string) => machinePlan(registry.devices.get(`f1/gw-1/${id}`) as PlacedDevice).plannedRunTime;
    expect(["gear-12", "shaft"].map((product) => planOf("press")?.(product))).toEqual([1_200_000_000n, undefined]);
    expect(["gear-12", "shaft"].map((product) => planOf("lathe")?.(product))).toEqual([1_200_000_000n, 5_000_000n]);
    const production = [...registry.devices.values()].filter(({ device }) => isProductionDevice(device));
    expect(production.map(({ device }) => device.id)).toEqual(["press"]);
  });
});

describe("faults", () => {
  it("of references, meters and parents are all told at once", () => {
    const at = "/enterprises/0/factories/0";
    const gateway = `${at}/gateways/0/devices`;
    expect(
      faultsOf({
        12: "  - { id: gear-12, name: 轴, unit: t }",
        33: "        lines: [{ id: l1, name: 一线 }, { id: l1, name: 二线 }]",
        39: "              - { id: main, name: 总表, kind: meter, meteringPoint: incoming, parent: sub, ctRatio: 0/5, ptRatio: -1, modulus: 0 }",
        43: "                meteringPoint: feeder\n                parent: gw-2/sub2",
        44: "                line: l9",
        47: "                calibrationDueOn: 2023-12-31",
        50: '                  - { at: "2024-03-01T10:00:00+08:00", oldFinal: 1, newInitial: 1 }',
        51: "              - { id: press, name: 压机, kind: machine, products: [bolt], capability: { metric: d }, modulus: 10, line: l1 }",
        57: "              - { id: gas, name: 气表, kind: meter, meteringPoint: feeder, carrier: gas, parent: gw-1/main, production: true }",
      }),
    ).toEqual([
      "12 /products/1/id: a product id used once (already at /products/0)",
      `33 ${at}/lines/1/id: a line id of this factory used once (already at ${at}/lines/0)`,
      `39 ${gateway}/0/modulus: more than 0`,
      `39 ${gateway}/0/ctRatio: a ratio above 0: 160, 800/5`,
      `39 ${gateway}/0/ptRatio: a ratio above 0: 160, 800/5`,
      `39 ${gateway}/0/parent: nothing: above an incoming meter is no other of the factory`,
      `44 ${gateway}/1/parent: a meter that is not below this one`,
      `45 ${gateway}/1/line: a line of this factory: l1`,
      `48 ${gateway}/1/calibrationDueOn: a date from 2024-01-01 on`,
      `51 ${gateway}/1/exchanges/1/at: a time after that of the exchange before`,
      `52 ${gateway}/2/capability/upperLimit: lowerLimit, upperLimit or both, and the upper above the lower`,
      `52 ${gateway}/2/modulus: nothing: only meters have one`,
      `52 ${gateway}/2/products/0: a product of this registry: gear-12`,
      `57 ${at}/gateways/1/devices/0/parent: a meter that is not below this one`,
      `58 ${at}/gateways/1/devices/1/production: nothing: only other devices have`,
      `58 ${at}/gateways/1/devices/1/parent: a meter of gas`,
    ]);
  });

  it("of the pilot's periods, dates and places", () => {
    expect(
      faultsOf({
        7: "    - { id: y1, from: 2023-11-01, until: 2023-02-29 }",
        8: "    - { id: y1, from: 2024-11-01, until: 2023-10-31 }\n    - { id: y3, from: 2023-10-31, until: 2026-01-01 }",
        9: "  thresholds: { effectiveDays: 31 }",
        20: "    digitalLevel: { level: L7, evaluator: 评价机构, date: 2023-02-29 }",
        24: "        coordinates: { longitude: 24.8, latitude: 113.6 }",
      }),
    ).toEqual([
      "7 /pilot/periods/0/until: a date that exists",
      "8 /pilot/periods/1/id: a period id of this pilot used once (already at /pilot/periods/0)",
      "8 /pilot/periods/1/until: a date from 2024-11-01 on",
      "9 /pilot/periods/2/from: a date after the end of the period before",
      "10 /pilot/thresholds/effectiveDays: at most windowDays, 30",
      "21 /enterprises/0/digitalLevel/date: a date that exists",
      "25 /enterprises/0/factories/0/coordinates/longitude: number >= 73 <= 136 (degrees east, CGCS2000)",
      "25 /enterprises/0/factories/0/coordinates/latitude: number >= 3 <= 54 (degrees north, CGCS2000)",
    ]);
  });

  it("of a tariff that leaves a gap, overlaps, or has no price, with month and minute", () => {
    const at = "/enterprises/0/factories/0/tariff";
    expect(
      faultsOf({
        28: '            - { kind: valley, from: "22:00", to: "08:30" }',
        30: '            - { kind: sharp, from: "08:00", to: "22:00", months: [7, 8, 8] }',
        31: "          pricesCNYPerKWh: { valley: 0.25, flat: 0.66521 }",
      }),
    ).toEqual([
      `27 ${at}/periods: 08:30 covered by a period, in month 9`,
      `29 ${at}/periods/1: 08:00 covered by one period only, in month 1`,
      `30 ${at}/periods/2/months/2: a month named once`,
      `30 ${at}/periods/2: 08:00 covered by one period only, in month 7`,
      `31 ${at}/pricesCNYPerKWh/sharp: the price of sharp, which a period has`,
      `31 ${at}/pricesCNYPerKWh/flat: at most 4 decimal places`,
    ]);
  });
});
