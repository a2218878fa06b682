import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataType, type Value } from "@jilian/domain/datatypes.ts";
import { creditCodeCheck } from "@jilian/domain/identity.ts";
import { type CalendarPeriod, hourMs, minuteMs, type Period, periodEnd, periodStart } from "@jilian/domain/periods.ts";
import type { Level, Result } from "@jilian/domain/result.ts";
import { type MetricDefinition, nodeMetrics } from "@jilian/domain/sample.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { createLiveState, type LiveState, publishResults } from "@jilian/store/live.ts";
import { type Registry, readRegistry } from "@jilian/store/registry.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";

/** A small cluster with real stores, for the tests of this room. */

/** 2026-11-22T14:32:25+08:00. */
export const worldNowMs = Date.UTC(2026, 10, 22, 6, 32, 25);
export const apiKey = "yanshi.correct-horse-battery";

const codes = ["91440605MA4W0AB12", "91440300MA5EX8C34", "91441200MA7KT6D56"].map((c) => c + creditCodeCheck(c));

function registryText(demo: boolean): string {
  const [first, second, third] = codes;
  return `
cluster: { id: nanhai-aluminium, name: 南海铝型材产业集群, industry: 有色金属 }
pilot: { id: gd-2022, name: 广东省产业集群数字化转型试点, demo: ${demo} }
alarms:
  - id: pressure
    name: { zh: 液压压力过低, en: Hydraulic pressure too low }
    priority: urgent
    kind: threshold
    below: 12.5
    applies: { device: jinlv-1/gw-1/press-1, metric: pressure }
enterprises:
  - id: jinlv
    name: 佛山市金铝型材有限公司
    creditCode: ${first}
    factories:
      - id: jinlv-1
        name: 金铝一厂（挤压）
        address: 佛山市南海区大沥镇
        gateways:
          - id: gw-1
            name: 挤压车间
            uplink: 5G CPE
            devices:
              - { id: meter-1, name: 进线电表, kind: meter, meteringPoint: incoming, carrier: electricity, ratedPowerKW: 630 }
              - { id: press-1, name: 1 号挤压机 1800T, kind: machine, output: true }
              - { id: press-2, name: 2 号挤压机 2500T, kind: machine }
              - { id: oven-1, name: 时效炉, kind: machine }
      - id: jinlv-2
        name: 金铝二厂（表面处理）
        gateways:
          - id: gw-1
            devices:
              - { id: meter-1, name: 进线电表, kind: meter, meteringPoint: incoming, carrier: electricity }
              - { id: line-1, name: 氧化线, kind: machine }
  - id: huamei
    name: 深圳华美精密五金有限公司
    creditCode: ${second}
    factories:
      - id: huamei-1
        name: 华美五金
        gateways:
          - id: gw-1
            name: 冲压车间
            devices:
              - { id: meter-1, name: 进线电表, kind: meter, meteringPoint: incoming, carrier: electricity }
              - { id: punch-1, name: 高速冲床, kind: machine }
              - { id: vision-1, name: 首检视觉站, kind: machine }
  - id: duanzhou
    name: 肇庆端州压铸有限公司
    creditCode: ${third}
    factories:
      - id: duanzhou-1
        name: 端州压铸
        gateways:
          - id: gw-1
            devices:
              - { id: die-1, name: 压铸机 800T, kind: machine }
`;
}

export function worldRegistry(demo = true): Registry {
  const checked = readRegistry(registryText(demo), "cluster.yaml");
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
  return checked.value;
}

/** A figure of this cluster; the period's status follows from the world's time. */
export function figure(
  registry: Registry,
  key: { indicator: string; level: Level; entity: string; period: Period; startMs: number },
  over: Partial<Result> = {},
): Result {
  const endMs = periodEnd(key.period as CalendarPeriod, key.startMs);
  return {
    ...key,
    endMs,
    value: "12.5",
    reason: null,
    unit: key.indicator.startsWith("energy.") ? (key.indicator.endsWith("comprehensive") ? "kgce" : "kWh") : "1",
    completeness: 1,
    estimatedShare: 0,
    lowerBound: false,
    status: endMs + 15 * minuteMs <= worldNowMs ? "final" : "provisional",
    revision: 0,
    definitionVersion: 1,
    factorTable: key.indicator === "energy.comprehensive" ? "gbt2589-2020" : null,
    registryVersion: registry.version,
    inputWatermark: 41,
    asOfMs: Math.min(endMs + 5_000, worldNowMs - 1_000),
    simulated: registry.demo,
    ...over,
  };
}

export const metrics = {
  energy: {
    name: "电能/正向有功总",
    datatype: DataType.Float,
    role: "energy.import",
    carrier: "electricity",
    unit: "kWh",
    resolution: "0.01",
    simulated: true,
  },
  parts: { name: "Production/Total", datatype: DataType.Int64, role: "production.total", unit: "pcs", simulated: true },
  running: { name: "Running", datatype: DataType.Boolean, simulated: true },
} as const satisfies Record<string, MetricDefinition>;

function addDevice(live: LiveState, key: string, change: { born?: boolean; ageMs?: number } = {}): void {
  const [group = "", node = "", device = ""] = key.split("/");
  const { born = true, ageMs = 3_000 } = change;
  const lastGoodMs = worldNowMs - ageMs;
  const times = { bornMs: worldNowMs - 6 * hourMs, lastGoodMs, freshUntilMs: lastGoodMs + 30_000 };
  live.devices.set(key, { group, node, device, born, ...times });
}

function addNode(live: LiveState, key: string, alive: boolean, pending: number): void {
  const [group = "", node = ""] = key.split("/");
  const metrics = new Map<string, Value>([
    [nodeMetrics.pendingRecords, pending],
    [nodeMetrics.droppedSamples, 0n],
  ]);
  const sinceMs = worldNowMs - (alive ? 6 * hourMs : 8 * minuteMs);
  live.nodes.set(key, { group, node, alive, sinceMs, metrics, devices: new Map() });
}

/** Four factories: all well, one machine unreadable, one machine stale, gateway gone. */
export function worldLive(registry: Registry): LiveState {
  const live = createLiveState();
  addNode(live, "jinlv-1/gw-1", true, 0);
  addNode(live, "jinlv-2/gw-1", true, 1284);
  addNode(live, "huamei-1/gw-1", false, 17);
  for (const id of ["meter-1", "press-1"]) addDevice(live, `jinlv-1/gw-1/${id}`);
  addDevice(live, "jinlv-1/gw-1/press-2", { born: false, ageMs: 11 * minuteMs });
  const reason = "MODBUS_CONNECT_REFUSED 192.168.10.22:502: connection refused";
  live.nodes.get("jinlv-1/gw-1")?.devices.set("press-2", { connected: false, reason });
  addDevice(live, "jinlv-1/gw-1/oven-1", { ageMs: 95_000 });
  for (const id of ["meter-1", "line-1"]) addDevice(live, `jinlv-2/gw-1/${id}`);
  for (const id of ["meter-1", "punch-1", "vision-1"]) addDevice(live, `huamei-1/gw-1/${id}`, { ageMs: 8 * minuteMs });
  publishResults(live, liveResults(registry));
  return live;
}

/** The newest look at the open periods, as the engine leaves it in live memory. */
function liveResults(registry: Registry): Result[] {
  const cluster = { level: "cluster", entity: "nanhai-aluminium" } as const;
  const startOf = (period: CalendarPeriod) => periodStart(period, worldNowMs);
  const counts = Object.entries({
    "factories.connected": "2",
    "devices.registered": "10",
    "devices.ever_connected": "9",
    "devices.online": "4",
  });
  const open = (indicator: string, period: CalendarPeriod, value: string, completeness = 0.9846) =>
    figure(registry, { ...cluster, indicator, period, startMs: startOf(period) }, { value, completeness });
  return [
    ...counts.map(([indicator, value]) =>
      figure(
        registry,
        { ...cluster, indicator, period: "minute", startMs: startOf("minute") },
        { value, completeness: null, estimatedShare: null },
      ),
    ),
    open("energy.electricity", "day", "4812.375"),
    open("energy.electricity", "hour", "201.062519"),
    open("energy.electricity", "minute", "2.604", 0.8),
    open("energy.comprehensive", "day", "591.4408875"),
    ...["jinlv-1", "jinlv-2"].map((entity, i) => {
      const key = {
        indicator: "energy.electricity",
        level: "factory",
        entity,
        period: "day",
        startMs: startOf("day"),
      } as const;
      return figure(registry, key, {
        value: ["3120.2", "1692.175"][i] ?? null,
        completeness: [0.9998, 0.9412][i] ?? null,
      });
    }),
    ...dayRatios(registry),
  ];
}

/** Ratios of today: the cluster's, and one factory's that lacks some. */
function dayRatios(registry: Registry): Result[] {
  const startMs = periodStart("day", worldNowMs);
  const made: [Level, string, string, Partial<Result>][] = [
    ["cluster", "nanhai-aluminium", "oee", { value: null, reason: "no_calendar", completeness: null }],
    ["cluster", "nanhai-aluminium", "quality.fpy", { value: "0.981234", completeness: 0.8731 }],
    ["cluster", "nanhai-aluminium", "quality.scrap_ratio", { value: "0.0125", lowerBound: true }],
    [
      ...(["cluster", "nanhai-aluminium", "energy.unit_product"] as const),
      { value: "0.041234567", unit: "kgce/pcs", factorTable: "GB/T 2589-2020" },
    ],
    [
      ...(["cluster", "nanhai-aluminium", "carbon.electricity"] as const),
      { value: "2553.4461375", unit: "kgCO2", factorTable: "CN grid CO2 2023, national", completeness: 0.9846 },
    ],
    ["factory", "jinlv-1", "oee", { value: "0.7825" }],
    ["factory", "jinlv-1", "quality.fpy", { value: "0.99", completeness: 0.5 }],
    ["factory", "jinlv-1", "quality.scrap_ratio", { value: null, reason: "no_register", completeness: null }],
  ];
  return made.map(([level, entity, indicator, over]) =>
    figure(registry, { level, entity, indicator, period: "day", startMs }, over),
  );
}

/** Minute results of the last 40 minutes of cluster and factories; one factory fell silent eight minutes ago. */
export function minuteResults(registry: Registry): Result[] {
  const openMs = periodStart("minute", worldNowMs);
  const base = { indicator: "energy.electricity", period: "minute" } as const;
  return Array.from({ length: 40 }, (_, i) => {
    const startMs = openMs - (40 - i) * minuteMs;
    const wave = 3.1 + Math.sin(i / 4) * 0.9 + (i % 5) * 0.11;
    const silent = i >= 32;
    const of = (entity: string, factor: number, over: Partial<Result> = {}) =>
      figure(registry, { ...base, level: "factory", entity, startMs }, { value: (wave * factor).toFixed(6), ...over });
    return [
      figure(
        registry,
        { ...base, level: "cluster", entity: "nanhai-aluminium", startMs },
        { value: (wave * 1.9).toFixed(6) },
      ),
      of("jinlv-1", 1),
      of("jinlv-2", 0.55, i === 20 ? { completeness: 0.62 } : {}),
      of("huamei-1", 0.35, silent ? { value: null, reason: "no_data", completeness: 0, estimatedShare: null } : {}),
      of("duanzhou-1", 0, { value: null, reason: "no_meter", completeness: null, estimatedShare: null }),
    ];
  }).flat();
}

/** Hours of today of the factories, in the ledger. */
export function hourResults(registry: Registry, hours = 6): Result[] {
  const startMs = periodStart("hour", worldNowMs) - hours * hourMs;
  return Array.from({ length: hours }, (_, i) =>
    ["jinlv-1", "jinlv-2"].map((entity) => {
      const key = {
        indicator: "energy.electricity",
        level: "factory",
        entity,
        period: "hour",
        startMs: startMs + i * hourMs,
      } as const;
      return figure(registry, key, { value: `${100 + i}.250001` });
    }),
  ).flat();
}

/** A folder of its own, a ledger with a key, births and a finding. */
export function openWorldLedger(): { folder: string; ledger: Ledger; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), "api-"));
  const ledger = openLedger({ path: join(folder, "ledger.sqlite"), log: pino({ level: "silent" }) });
  const [name = "", secret = ""] = apiKey.split(".");
  ledger.setCredential({ kind: "api", name }, secret);
  for (const key of [
    "jinlv-1/gw-1/meter-1",
    "jinlv-1/gw-1/press-1",
    "jinlv-1/gw-1/press-2",
    "jinlv-1/gw-1/oven-1",
    "jinlv-2/gw-1/meter-1",
  ]) {
    const [group = "", node = "", device = ""] = key.split("/");
    ledger.noteBirth({ group, node, device, firstBirthMs: worldNowMs - 48 * hourMs });
  }
  ledger.noteUnregistered({ group: "jinlv-1", node: "gw-1", device: "press-9" }, worldNowMs - minuteMs);
  ledger.noteFinding(
    { code: "UNEXPLAINED_RESET", subject: "jinlv-1/gw-1/press-1", detail: "读数由 120 变为 3" },
    worldNowMs - hourMs,
  );
  return { folder, ledger, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
