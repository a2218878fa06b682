import { describe, expect, it } from "vitest";
import type { AlarmRule } from "./registry-alarms.ts";
import { formatDifferences, registryDifferences } from "./registry-difference.ts";
import type { RegistryFile } from "./registry-schema.ts";

const before: RegistryFile = {
  cluster: { id: "c", name: "集群" },
  pilot: { id: "p", name: "试点", demo: true, periods: [{ id: "y1", from: "2026-01-01", until: "2026-12-31" }] },
  products: [{ id: "gear", name: "齿轮", unit: "pcs" }],
  enterprises: [
    {
      id: "e",
      name: "甲",
      creditCode: "91350100M000100Y43",
      digitalLevel: { level: "L6", evaluator: "院", date: "2026-01-01" },
      factories: [
        {
          id: "f",
          name: "厂",
          lines: [{ id: "l", name: "线" }],
          gateways: [
            {
              id: "g",
              devices: [
                { id: "m1", name: "表", kind: "meter", meteringPoint: "incoming", ratedPowerKW: 900 },
                { id: "m2", name: "机", kind: "machine", states: { running: [1] } },
              ],
            },
          ],
        },
      ],
    },
  ],
};

type Change = (file: RegistryFile) => void;
function differencesAfter(change: Change) {
  const after = structuredClone(before);
  change(after);
  return registryDifferences(before, after);
}
const factoryOf = (file: RegistryFile) =>
  file.enterprises[0]?.factories[0] as RegistryFile["enterprises"][0]["factories"][0];
const devicesOf = (file: RegistryFile) => factoryOf(file).gateways[0]?.devices as { id: string; name: string }[];

describe("differences", () => {
  it("are none for another order of entries and keys", () => {
    const found = differencesAfter((file) => {
      devicesOf(file).reverse();
      Object.assign(file.cluster, { id: undefined }, Object.fromEntries(Object.entries(file.cluster).reverse()));
    });
    expect(found).toEqual([]);
    expect(formatDifferences(found)).toBe("无差异 no difference\n");
  });

  it("tell alarm rules by id, and each of their keys", () => {
    const rule = (codes: number[], priority: AlarmRule["priority"]): AlarmRule => ({
      ...{ id: "fault", name: { zh: "故障" }, priority, kind: "state", codes },
      applies: { role: "machine.state" },
    });
    const added = { ...before, alarms: [rule([4], "high")] };
    const [came] = registryDifferences(before, added);
    expect(came).toMatchObject({ change: "added", kind: "alarm", entity: "fault", name: "故障" });
    const after = { ...before, alarms: [rule([4, 5], "urgent")] };
    const text = formatDifferences(registryDifferences(added, after));
    expect(text).toContain("变更 changed  报警规则 alarm rule  fault 故障");
    expect(text).toContain('    优先级 priority: "high" -> "urgent"');
    expect(text).toContain("    状态码 codes: [4] -> [4,5]");
  });

  it("name entry and field, old and new", () => {
    const found = differencesAfter((file) => {
      file.cluster.id = "c2";
      Object.assign(file.pilot, { demo: false, periods: [{ id: "y1", from: "2026-01-01", until: "2027-12-31" }] });
      Object.assign(file.enterprises[0] ?? {}, { digitalLevel: { level: "L7", evaluator: "院", date: "2026-01-01" } });
      Object.assign(devicesOf(file)[1] ?? {}, { states: { running: [1, 2] }, keyProcess: true });
      delete (devicesOf(file)[0] as { ratedPowerKW?: number }).ratedPowerKW;
    });
    expect(found.map(({ kind, entity, field, before: from, after }) => [kind, entity, field, from, after])).toEqual([
      ["cluster", "cluster", "clusterId", '"c"', '"c2"'],
      ["pilot", "pilot", "demo", "true", "false"],
      ["pilotPeriod", "y1", "until", '"2026-12-31"', '"2027-12-31"'],
      ["enterprise", "e", "digitalLevel.level", '"L6"', '"L7"'],
      ["device", "f/g/m1", "ratedPowerKW", "900", null],
      ["device", "f/g/m2", "states.running", "[1]", "[1,2]"],
      ["device", "f/g/m2", "keyProcess", null, "true"],
    ]);
  });

  it("tell what came and went, and a factory that changed its enterprise", () => {
    const found = differencesAfter((file) => {
      const [first] = file.enterprises;
      if (!first) return;
      file.enterprises.unshift({ ...first, id: "e2", creditCode: "91440200MA4DEM001X", factories: first.factories });
      Object.assign(first, { factories: [{ id: "f2", name: "新厂", gateways: [{ id: "g", devices: [] }] }] });
      factoryOf(file).lines = [];
      file.products?.push({ id: "shaft", name: "轴", unit: "t" });
    });
    const told = found.map(({ change, kind, entity, field }) => `${change} ${kind} ${entity} ${field ?? ""}`.trim());
    expect(told).toEqual([
      "added product shaft",
      "added enterprise e2",
      "changed factory f enterprise",
      "added factory f2",
      "added gateway f2/g",
      "removed line f/l",
    ]);
  });

  it("are shown in Chinese and English, counted by entry", () => {
    const found = differencesAfter((file) => {
      Object.assign(devicesOf(file)[0] ?? {}, { ratedPowerKW: 1000, name: "总表" });
      devicesOf(file).pop();
      file.cluster.name = "长".repeat(300);
    });
    expect(formatDifferences(found).split("\n")).toEqual([
      `变更 changed  集群 cluster  cluster ${"长".repeat(300)}`,
      `    名称 name: "集群" -> "${"长".repeat(159)}…`,
      "变更 changed  设备 device  f/g/m1 总表",
      '    名称 name: "表" -> "总表"',
      "    额定功率 ratedPowerKW: 900 -> 1000",
      "移除 removed  设备 device  f/g/m2 机",
      "0 新增 added, 1 移除 removed, 2 变更 changed",
      "",
    ]);
  });
});
