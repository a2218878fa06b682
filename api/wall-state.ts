import { formatScaled, parseDecimal } from "@jilian/domain/decimal.ts";
import { type CalendarPeriod, minuteMs, type Period, periodStart } from "@jilian/domain/periods.ts";
import { type Level, nullReasons, type Result, resultId } from "@jilian/domain/result.ts";
import { nodeMetrics } from "@jilian/domain/sample.ts";
import type { AlarmCounts, StoredAlarm } from "@jilian/store/alarms.ts";
import type { FirstBirth } from "@jilian/store/ledger.ts";
import type { LiveState } from "@jilian/store/live.ts";
import type { PlacedDevice, Registry } from "@jilian/store/registry.ts";
import type { RegistryFactory } from "@jilian/store/registry-schema.ts";
import { type Static, Type } from "typebox";
import type { Directory } from "./directory.ts";
import { nullable } from "./figures.ts";
import { type FoundResult, mergeResults } from "./read-figures.ts";
import { birthsByDevice, reasonOf, stateSchema, stateTeller } from "./registry-view.ts";

const ms = nullable(Type.Number());

/** A figure on the wall. `dataMs`: the time up to which it tells, its age counts from there; null also where it is counted live. */
export const wallFigureSchema = Type.Object({
  zh: Type.String(),
  en: Type.String(),
  unit: Type.String(),
  value: nullable(Type.String()),
  reason: nullable(Type.String()),
  startMs: ms,
  endMs: ms,
  dataMs: ms,
  completeness: ms,
  estimatedShare: ms,
  lowerBound: Type.Boolean(),
  status: nullable(
    Type.String({ description: "live: counted at nowMs, of no period; else provisional, final, revised" }),
  ),
  revision: Type.Integer(),
  factorTable: nullable(Type.String()),
  simulated: Type.Boolean(),
});
export type WallFigure = Static<typeof wallFigureSchema>;

/** A ratio or a sum of the day that is shown beside the headline figures. */
export const kpiSchema = Type.Object({ ...wallFigureSchema.properties, indicator: Type.String() });
type WallKpi = Static<typeof kpiSchema>;

/** Shown for the cluster and on each factory's card, today's, in this order. */
export const wallKpis = ["oee", "quality.fpy", "quality.scrap_ratio", "energy.unit_product", "carbon.electricity"];

const barSchema = Type.Object({
  startMs: Type.Number(),
  value: nullable(Type.String()),
  completeness: ms,
  status: nullable(Type.String()),
});
const wallGatewaySchema = Type.Object({
  id: Type.String(),
  name: Type.String(),
  alive: Type.Boolean(),
  sinceMs: ms,
  pendingRecords: ms,
  droppedSamples: ms,
  setAsideRecords: ms,
});
const wallDeviceSchema = Type.Object({
  id: Type.String(),
  name: Type.String(),
  state: stateSchema,
  reason: nullable(Type.String()),
  lastGoodMs: ms,
});
const wallFactorySchema = Type.Object({
  id: Type.String(),
  name: Type.String(),
  enterprise: Type.String(),
  gateways: Type.Array(wallGatewaySchema),
  devices: Type.Array(wallDeviceSchema),
  energyDay: wallFigureSchema,
  energyMinute: wallFigureSchema,
  /** Oldest first; every minute is there, null where nothing is known. */
  energyMinutes: Type.Array(barSchema),
  kpis: Type.Array(kpiSchema),
});

const wallAlarmsSchema = Type.Object({
  active: Type.Integer(),
  unknown: Type.Integer({ description: "open, but their readings have stopped" }),
  unacknowledged: Type.Integer(),
  /** Open ones, the most pressing first, of equals the newest. */
  open: Type.Array(
    Type.Object({
      id: Type.Integer(),
      zh: Type.String(),
      en: nullable(Type.String()),
      priority: Type.String(),
      device: Type.String({ description: "name of the device" }),
      raisedMs: Type.Number(),
      state: Type.String(),
    }),
  ),
});

export const wallStateSchema = Type.Object({
  nowMs: Type.Number(),
  clockRate: Type.Number(),
  title: Type.String(),
  operator: nullable(Type.String()),
  cluster: Type.String(),
  pilot: Type.String(),
  demo: Type.Boolean(),
  registryVersion: Type.String(),
  factoriesRegistered: Type.Integer(),
  figures: Type.Object({
    factoriesConnected: wallFigureSchema,
    devicesOnline: wallFigureSchema,
    devicesEverConnected: wallFigureSchema,
    devicesRegistered: wallFigureSchema,
    energyDay: wallFigureSchema,
    energyHour: wallFigureSchema,
    energyMinute: wallFigureSchema,
    /** Mean over the last full minute. */
    power: wallFigureSchema,
    comprehensiveDay: wallFigureSchema,
  }),
  kpis: Type.Array(kpiSchema),
  /** Null where the registry has no alarm rules. */
  alarms: Type.Union([wallAlarmsSchema, Type.Null()]),
  reasons: Type.Record(Type.String(), Type.Object({ zh: Type.String(), en: Type.String() }), {
    description: "why a value is null, by id",
  }),
  factories: Type.Array(wallFactorySchema),
});
export type WallState = Static<typeof wallStateSchema>;

/** Minutes that a factory's small series shows. */
export const wallMinutes = 30;

/** Alarms as the ledger has them now. */
export type WallAlarms = { readonly counts: AlarmCounts; readonly open: readonly StoredAlarm[] };

/** Open alarms that the wall names. */
export const wallAlarms = 3;

/** What the wall is made of; all of it passed in. */
export type WallInput = {
  registry: Registry;
  directory: Directory;
  live: LiveState;
  /** Stored results of the last minutes, this hour and this day; live ones are merged in. */
  stored: readonly FoundResult[];
  firstBirths: readonly FirstBirth[];
  alarms: WallAlarms;
  nowMs: number;
  clockRate: number;
  title?: string | undefined;
  operator?: string | undefined;
};

type Find = (indicator: string, level: Level, entity: string, period: Period, startMs: number) => Result | undefined;

function wallFigure(indicator: string, result: Result | undefined, { directory, registry }: WallInput): WallFigure {
  const { zh = indicator, en = indicator, unit = "1" } = directory.indicators.get(indicator) ?? {};
  const none = { startMs: null, endMs: null, dataMs: null, completeness: null, estimatedShare: null, status: null };
  if (!result) {
    const nothing = { value: null, reason: "no_data", lowerBound: false, revision: 0, factorTable: null };
    return { zh, en, unit, ...none, ...nothing, simulated: registry.demo };
  }
  const { value, reason, startMs, endMs, completeness, estimatedShare, lowerBound, status, revision, factorTable } =
    result;
  const dataMs = Math.min(result.asOfMs, endMs);
  const judged = {
    completeness,
    estimatedShare,
    lowerBound,
    status,
    revision,
    factorTable,
    simulated: result.simulated,
  };
  return { zh, en, unit: result.unit, value, reason, startMs, endMs, dataMs, ...judged };
}

/** A count of what is so now. The same states as on the cards, so that their sum is this number at every moment. */
function liveCount(indicator: string, value: number, input: WallInput): WallFigure {
  const none = wallFigure(indicator, undefined, input);
  return { ...none, value: String(value), reason: null, status: "live" };
}

/** Today's ratios of an entity; one without a figure yet says so, as every figure does. */
function kpisOf(level: "factory" | "cluster", entity: string, find: Find, input: WallInput): WallKpi[] {
  const startMs = periodStart("day", input.nowMs);
  return wallKpis
    .filter((indicator) => input.directory.indicators.get(indicator)?.levels.includes(level))
    .map((indicator) => ({
      ...wallFigure(indicator, find(indicator, level, entity, "day", startMs), input),
      indicator,
    }));
}

/** Mean power of a minute: kWh in a minute times 60, exactly. */
function meanPower(minute: WallFigure): WallFigure {
  const words = { zh: "平均功率", en: "Mean power", unit: "kW" };
  if (minute.value === null) return { ...minute, ...words };
  const { digits, scale } = parseDecimal(minute.value);
  return { ...minute, ...words, value: formatScaled(digits * 60n, scale) };
}

function count(value: unknown): number | null {
  return typeof value === "number" || typeof value === "bigint" ? Number(value) : null;
}

type Found = {
  find: Find;
  stateOf: ReturnType<typeof stateTeller>;
  /** Devices by factory, as the registry's entries. */
  devices: ReadonlyMap<string, readonly [string, PlacedDevice][]>;
};

function wallFactory(
  factory: RegistryFactory,
  enterprise: string,
  input: WallInput,
  { find, stateOf, devices }: Found,
) {
  const { live, nowMs } = input;
  const openMs = periodStart("minute", nowMs);
  const electricity = (period: Period, startMs: number) =>
    find("energy.electricity", "factory", factory.id, period, startMs);
  const lastFull = newestFullMinute(openMs, (startMs) => electricity("minute", startMs));
  return {
    id: factory.id,
    name: factory.name,
    enterprise,
    gateways: factory.gateways.map(({ id, name }) => {
      const node = live.nodes.get(`${factory.id}/${id}`);
      return {
        id,
        name: name ?? id,
        alive: node?.alive ?? false,
        sinceMs: node?.sinceMs ?? null,
        pendingRecords: count(node?.metrics.get(nodeMetrics.pendingRecords)),
        droppedSamples: count(node?.metrics.get(nodeMetrics.droppedSamples)),
        setAsideRecords: count(node?.metrics.get(nodeMetrics.setAsideRecords)),
      };
    }),
    devices: (devices.get(factory.id) ?? []).map(([id, placed]) => ({
      id,
      name: placed.device.name,
      state: stateOf(id, placed),
      reason: reasonOf(placed, live),
      lastGoodMs: live.devices.get(id)?.lastGoodMs || null,
    })),
    energyDay: wallFigure("energy.electricity", electricity("day", periodStart("day", nowMs)), input),
    energyMinute: wallFigure("energy.electricity", lastFull, input),
    energyMinutes: Array.from({ length: wallMinutes }, (_, i) => {
      const startMs = openMs - (wallMinutes - i) * minuteMs;
      const found = electricity("minute", startMs);
      return {
        startMs,
        value: found?.value ?? null,
        completeness: found?.completeness ?? null,
        status: found?.status ?? null,
      };
    }),
    kpis: kpisOf("factory", factory.id, find, input),
  };
}

/** The newest minute that is over and has a figure, at most as far back as the series goes: older would show the past as present. */
function newestFullMinute(openMs: number, at: (startMs: number) => Result | undefined): Result | undefined {
  for (let back = 1; back <= wallMinutes; back += 1) {
    const found = at(openMs - back * minuteMs);
    if (found) return found;
  }
  return undefined;
}

function alarmsOf({ alarms: { counts, open }, directory }: WallInput): NonNullable<WallState["alarms"]> {
  return {
    ...counts,
    open: open.map(({ id, zh, en, priority, device, raisedMs, state }) => ({
      ...{ id, zh, en, priority, raisedMs, state },
      device: directory.entities.device.get(device) ?? device,
    })),
  };
}

/** Everything the wall page shows, at one moment. Pure. */
export function wallState(input: WallInput): WallState {
  const { registry, live, nowMs } = input;
  const { file } = registry;
  const results = mergeResults(input.stored, live, (r) => r.level === "cluster" || r.level === "factory");
  const find: Find = (indicator, level, entity, period, startMs) =>
    results.get(resultId({ indicator, level, entity, period, startMs }));
  const ofCluster = (indicator: string, period: Period, startMs: number) =>
    find(indicator, "cluster", file.cluster.id, period, startMs);
  const openMs = periodStart("minute", nowMs);
  const current = (indicator: string) => {
    const at = (startMs: number) => ofCluster(indicator, "minute", startMs);
    return wallFigure(indicator, at(openMs) ?? newestFullMinute(openMs, at), input);
  };
  const open = (indicator: string, period: CalendarPeriod) =>
    wallFigure(indicator, ofCluster(indicator, period, periodStart(period, nowMs)), input);
  const lastMinute = newestFullMinute(openMs, (startMs) => ofCluster("energy.electricity", "minute", startMs));
  const energyMinute = wallFigure("energy.electricity", lastMinute, input);
  const found: Found = {
    find,
    stateOf: stateTeller(input, birthsByDevice(input.firstBirths)),
    devices: Map.groupBy(registry.devices, ([, placed]) => placed.factoryId),
  };
  const factories = file.enterprises.flatMap((e) => e.factories.map((f) => wallFactory(f, e.name, input, found)));
  const online = factories.map((factory) => factory.devices.filter(({ state }) => state === "online").length);
  return {
    nowMs,
    clockRate: input.clockRate,
    title: input.title ?? file.cluster.name,
    operator: input.operator ?? null,
    cluster: file.cluster.name,
    pilot: file.pilot.name,
    demo: registry.demo,
    registryVersion: registry.version,
    factoriesRegistered: registry.factories.size,
    figures: {
      factoriesConnected: liveCount("factories.connected", online.filter((n) => n > 0).length, input),
      devicesOnline: liveCount(
        "devices.online",
        online.reduce((sum, n) => sum + n, 0),
        input,
      ),
      devicesEverConnected: current("devices.ever_connected"),
      devicesRegistered: current("devices.registered"),
      energyDay: open("energy.electricity", "day"),
      energyHour: open("energy.electricity", "hour"),
      energyMinute,
      power: meanPower(energyMinute),
      comprehensiveDay: open("energy.comprehensive", "day"),
    },
    kpis: kpisOf("cluster", file.cluster.id, find, input),
    alarms: (file.alarms ?? []).length > 0 ? alarmsOf(input) : null,
    reasons: nullReasons,
    factories,
  };
}
