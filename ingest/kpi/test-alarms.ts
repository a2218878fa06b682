/** A plant with alarm rules for the tests: its readings, the ways in which they arrive, and what alarms they ought to make. */
import { type AlarmEvent, alarmTimeIn } from "@jilian/domain/alarm.ts";
import { alarmEvents } from "@jilian/domain/alarm-machine.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { dayMs, hourMs, type Period, quarterHourMs } from "@jilian/domain/periods.ts";
import { Status } from "@jilian/domain/quality.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { indexRegistry } from "@jilian/store/registry.ts";
import { type AlarmRule, conditionOf } from "@jilian/store/registry-alarms.ts";
import { versionOf } from "@jilian/store/registry-versions.ts";
import type { SampleRow, Series, Telemetry } from "@jilian/store/telemetry.ts";
import { random } from "../test-random.ts";
import { testRegistry } from "../test-world.ts";
import { type AlarmTrack, alarmValue } from "./alarm-tracks.ts";

/** 22:50 in Shanghai: an hour and a day end soon. */
export const t0 = Date.UTC(2026, 10, 30, 14, 50);

export const rules: AlarmRule[] = [
  {
    id: "power",
    name: { zh: "功率过高", en: "Power too high" },
    priority: "high",
    kind: "threshold",
    above: 60,
    hysteresis: 10,
    onDelayMs: 20_000,
    offDelayMs: 15_000,
    applies: { role: "power.active" },
  },
  {
    id: "heating",
    name: { zh: "升温过快" },
    priority: "medium",
    kind: "rate",
    risePerMinute: 15,
    windowMs: 30_000,
    applies: { role: "temperature", deviceKind: "machine" },
  },
  {
    id: "fault",
    name: { zh: "设备故障" },
    priority: "urgent",
    kind: "state",
    codes: [4],
    onDelayMs: 10_000,
    applies: { role: "machine.state" },
  },
  {
    id: "cold",
    name: { zh: "温度过低" },
    priority: "low",
    kind: "threshold",
    below: 5.5,
    applies: { device: "f3/gw-1/press-1", metric: "t" },
  },
];

type Plan = {
  device: string;
  metric: string;
  definition: Omit<MetricDefinition, "name">;
  everyMs: number;
  most: number;
};
const base = { datatype: DataType.Double, simulated: false } as const;
const plans: readonly Plan[] = [
  {
    device: "f1/gw-1/meter-1",
    metric: "p",
    definition: { ...base, role: "power.active", unit: "kW" },
    everyMs: 9000,
    most: 100,
  },
  {
    ...{ device: "f1/gw-1/press-1", metric: "state", everyMs: 20_000, most: 5 },
    definition: { ...base, datatype: DataType.Int32, role: "machine.state", heartbeatMs: 20_000 },
  },
  {
    ...{ device: "f3/gw-1/press-1", metric: "t", everyMs: 7000, most: 40 },
    definition: { ...base, datatype: DataType.Float, role: "temperature", unit: "°C", heartbeatMs: 15_000 },
  },
];

/** The tests' registry with alarm rules, in force from a moment on. */
export function applyRules(ledger: Ledger, own: readonly AlarmRule[], fromMs = 0): void {
  const file = { ...structuredClone(testRegistry(false).file), alarms: [...own] };
  ledger.addRegistryVersion(versionOf(indexRegistry(file), { fromMs, appliedMs: t0 }));
}

export async function ensureSeries(telemetry: Telemetry): Promise<number[]> {
  const wanted = plans.map(({ device, metric, definition }) => {
    const [group = "", node = "", name = ""] = device.split("/");
    return { group, node, device: name, metric, definition: { ...definition, name: metric } };
  });
  return await telemetry.ensureSeries(wanted);
}

/** Readings that wander, stay, stop and turn bad. */
export function makeReadings(series: readonly number[], seed: number, untilMs: number): SampleRow[] {
  const { whole, chance } = random(seed);
  return plans.flatMap(({ everyMs, most, definition }, i) => {
    const rows: SampleRow[] = [];
    let value = whole(most);
    for (let at = t0 + whole(everyMs); at < untilMs; ) {
      const status = chance(0.03) ? Status.BadTimeout : Status.Good;
      const stored = definition.datatype === DataType.Float ? Math.fround(value / 2 + 0.1) : value;
      const times = { sourceTimeMs: at, gatewayTimeMs: at, ingestTimeMs: at };
      rows.push({ series: series[i] as number, value: status === Status.Good ? stored : null, status, ...times });
      at += chance(0.03) ? whole(8 * 60_000) + 1 : everyMs - whole(everyMs / 3);
      if (chance(0.4)) value = Math.min(most - 1, Math.max(0, value + whole(most) - Math.floor(most / 2)));
    }
    return rows;
  });
}

const plain = ({ parts, clearedMs, ending }: AlarmEvent) => ({
  parts: parts.map(({ fromMs, toMs, peak, peakMs }) => ({ fromMs, toMs, peak: String(peak), peakMs })),
  ...{ clearedMs, ending },
});
export type PlainEvents = Record<string, ReturnType<typeof plain>[]>;

/** What the ledger has, by rule and series, without what was withdrawn. */
export function keptEvents(ledger: Ledger): PlainEvents {
  const found: PlainEvents = {};
  for (const alarm of ledger.alarmsOver(0, Number.MAX_SAFE_INTEGER).sort((a, b) => a.raisedMs - b.raisedMs)) {
    const name = `${alarm.rule} ${alarm.device} ${alarm.metric}`;
    found[name] = [...(found[name] ?? []), plain(alarm)];
  }
  return found;
}

/** What all the readings come to, judged in order from the first on. @param segments when each rule was in force; since ever if absent */
export async function expectedEvents(
  telemetry: Telemetry,
  nowMs: number,
  own: readonly { rule: AlarmRule; fromMs: number; toMs: number }[] = rules.map((rule) => ({
    rule,
    fromMs: 0,
    toMs: Infinity,
  })),
): Promise<Map<string, AlarmEvent[]>> {
  const found = new Map<string, AlarmEvent[]>();
  for (const series of await telemetry.series()) {
    const device = `${series.group}/${series.node}/${series.device}`;
    for (const { rule, fromMs, toMs } of own) {
      const { applies } = rule;
      const isWatched =
        applies.role === undefined ? applies.device === device : applies.role === series.definition.role;
      if (!isWatched) continue;
      const condition = conditionOf(rule, series.definition);
      const rows = await telemetry.read({ series: series.id, fromMs, toMs: Math.min(toMs, 1e15) }, 1e9);
      const track = { series: series as Series, condition } as AlarmTrack;
      const readings = rows.map((row) => ({ atMs: row.sourceTimeMs, value: alarmValue(track, row) }));
      const name = `${rule.id} ${device} ${series.metric}`;
      found.set(name, [...(found.get(name) ?? []), ...alarmEvents(condition, readings, nowMs, toMs)]);
    }
  }
  return found;
}

export function plainEvents(events: ReadonlyMap<string, readonly AlarmEvent[]>): PlainEvents {
  return Object.fromEntries(
    [...events].filter(([, own]) => own.length > 0).map(([name, own]) => [name, own.map(plain)]),
  );
}

const lengths = { quarter_hour: quarterHourMs, hour: hourMs, day: dayMs } as const satisfies Partial<
  Record<Period, number>
>;

/** The figures of alarms that are kept, and what the events come to. */
export function alarmFigures(ledger: Ledger, events: ReadonlyMap<string, readonly AlarmEvent[]>, nowMs: number) {
  const found: Record<string, string | null> = {};
  const expected: Record<string, string | null> = {};
  for (const period of ["quarter_hour", "hour", "day"] as const)
    for (const [level, entity, factories] of [
      ["factory", "f1", ["f1"]],
      ["factory", "f2", ["f2"]],
      ["factory", "f3", ["f3"]],
      ["cluster", "jinlv", ["f1", "f2", "f3"]],
    ] as const)
      for (const indicator of ["alarms.raised", "alarms.active_time"]) {
        const query = { level, entity, period, indicator, fromMs: t0 - dayMs, toMs: nowMs, limit: 1e6 };
        for (const { startMs, value, endMs } of ledger.readResults(query)) {
          const key = `${indicator} ${entity} ${period} ${new Date(startMs).toISOString()}`;
          found[key] = value;
          const own = [...events]
            .filter(([name]) => factories.some((id) => name.includes(` ${id}/`)))
            .flatMap(([, e]) => e);
          const sums = own.map((event) =>
            alarmTimeIn(event, startMs, Math.min(endMs, startMs + lengths[period], nowMs)),
          );
          const raised = sums.reduce((sum, one) => sum + one.raised, 0);
          const minutes = sums.reduce((sum, one) => sum + one.activeMs, 0) / 60_000;
          const known = indicator === "alarms.raised" ? String(raised) : String(Math.round(minutes * 10_000) / 10_000);
          expected[key] = entity === "f2" ? null : known;
        }
      }
  return { found, expected };
}
