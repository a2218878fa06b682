/** A small plant for the tests of the engine: its devices, some hours of their readings, and the ways in which these arrive. */
import { DataType } from "@jilian/domain/datatypes.ts";
import { minuteMs } from "@jilian/domain/periods.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { indexRegistry, type Registry } from "@jilian/store/registry.ts";
import type { RegistryDevice } from "@jilian/store/registry-schema.ts";
import type { SampleRow } from "@jilian/store/telemetry.ts";
import { random } from "../test-random.ts";
import { testRegistry } from "../test-world.ts";
import type { Oracle, OracleSeries, Reading, Seen } from "./test-oracle.ts";
import type { OracleMachine } from "./test-oracle-machines.ts";

/** 22:47:23 in Shanghai: hours, a day and the end of a month lie ahead. */
export const startMs = Date.UTC(2026, 10, 30, 14, 47, 23);

export type Plan = {
  device: string;
  metric: string;
  definition: Omit<MetricDefinition, "name">;
  /** Readings come this far apart, but for gaps. */
  everyMs: number;
  /** Stored value of a register that stands at so many tenths. */
  storedAt: (tenths: number) => SampleRow["value"];
  oracle?: Partial<OracleSeries>;
  /** Whether its readings count for its device at all. */
  counts?: false;
  fromMs?: number;
};

const energy = { datatype: DataType.Double, role: "energy.import", unit: "kWh", simulated: false } as const;
const tenth = (n: number) => n / 10;

const machine = (device: string, metric: string, definition: Omit<MetricDefinition, "name" | "simulated">): Plan => ({
  device,
  metric,
  definition: { ...definition, simulated: false },
  everyMs: 25_000,
  storedAt: BigInt,
});
const pieces = { datatype: DataType.Int64, unit: "pcs", heartbeatMs: 15_000 } as const;
const press1 = "f1/gw-1/press-1";

/** What of the machines counts; of the presses one has all terms, one no planned run time, one no counter of good pieces until late. */
const machinePlans: Plan[] = [
  machine(press1, "produced-b", { ...pieces, role: "production.total", product: "b" }),
  machine(press1, "good", { ...pieces, role: "production.good", product: "b" }),
  machine(press1, "scrap", { ...pieces, role: "production.scrap" }),
  machine(press1, "inspected", { ...pieces, role: "inspection.inspected" }),
  machine(press1, "passed", { ...pieces, role: "inspection.passed" }),
  {
    ...machine(press1, "state", { datatype: DataType.Int32, role: "machine.state", heartbeatMs: 20_000 }),
    storedAt: (n) => n % 3,
  },
  machine("f1/gw-1/press-2", "produced", { ...pieces, role: "production.total", product: "a" }),
  machine("f1/gw-1/press-2", "good", { ...pieces, role: "production.good", product: "a" }),
  {
    ...machine("f1/gw-1/press-2", "state", { datatype: DataType.Boolean, role: "machine.state" }),
    storedAt: (n) => n % 4 !== 0,
  },
  machine("f2/gw-1/press-1", "produced", { ...pieces, role: "production.total" }),
  machine("f2/gw-1/press-1", "good", { ...pieces, role: "production.good", product: "b" }),
  machine("f2/gw-1/press-1", "rework", { ...pieces, role: "production.rework" }),
  {
    ...machine("f2/gw-1/press-1", "state", { datatype: DataType.String, role: "machine.state", heartbeatMs: 40_000 }),
    storedAt: (n) => ["RUN", "SETUP", "STOP"][n % 3] as string,
  },
];

/** Simulated readings are in the store of a real pilot too: they must not count there. */
export const plans: Plan[] = [
  {
    device: "f1/gw-1/meter-1",
    metric: "energy",
    definition: { ...energy, heartbeatMs: 20_000, modulus: "1000", resolution: "0.1" },
    everyMs: 20_000,
    storedAt: tenth,
    oracle: { incoming: true, modulus: 1_000_000_000n, ratedKW: 500n, resolution: 100_000n },
  },
  {
    device: "f1/gw-1/meter-1",
    metric: "power",
    definition: { datatype: DataType.Float, role: "power.active", unit: "kW", simulated: false },
    everyMs: 45_000,
    storedAt: Math.fround,
  },
  {
    device: "f1/gw-1/meter-2",
    metric: "energy",
    definition: { ...energy, datatype: DataType.Float, heartbeatMs: 60_000 },
    everyMs: 50_000,
    storedAt: (n) => Math.fround(n / 10),
    oracle: { incoming: true },
    fromMs: startMs + 40 * minuteMs,
  },
  { device: "f1/gw-1/feeder-1", metric: "energy", definition: energy, everyMs: 60_000, storedAt: tenth },
  {
    device: "f1/gw-1/press-1",
    metric: "produced",
    definition: { datatype: DataType.Int64, role: "production.total", unit: "pcs", product: "a", simulated: false },
    everyMs: 30_000,
    storedAt: BigInt,
  },
  {
    device: "f2/gw-1/meter-1",
    metric: "energy",
    definition: { ...energy, modulus: "nonsense" },
    everyMs: 10_000,
    storedAt: tenth,
    oracle: { incoming: true },
    fromMs: startMs + 70 * minuteMs,
  },
  {
    device: "f2/gw-1/meter-2",
    metric: "energy",
    definition: { ...energy, simulated: true },
    everyMs: 40_000,
    storedAt: tenth,
    counts: false,
  },
  { device: "f2/gw-1/gas-1", metric: "energy", definition: energy, everyMs: 90_000, storedAt: tenth },
  {
    device: "f3/gw-1/press-1",
    metric: "temperature",
    definition: { datatype: DataType.Double, simulated: true },
    everyMs: 30_000,
    storedAt: tenth,
    counts: false,
  },
  ...machinePlans,
];

/** 20:00 to 23:30 and 23:45 to 02:00 on Mondays; the Tuesday of the test is an exception with 20 minutes of its own. */
const f1Calendar = {
  shifts: [
    { days: ["mon" as const], from: "20:00", to: "23:30" },
    { days: ["mon" as const], from: "23:45", to: "02:00" },
    { days: ["tue" as const], from: "02:00", to: "03:00" },
  ],
  exceptions: [
    { date: "2026-11-01", untilDate: "2026-11-29", shifts: [] },
    { date: "2026-12-01", shifts: [{ from: "02:10", to: "02:30" }] },
  ],
};
const everyDay = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;
const f2Calendar = { shifts: [{ days: [...everyDay], from: "08:00", to: "08:00" }] };

/** The registry of the plant: the tests' own, with what figures of equipment need. */
export function plantRegistry(): Registry {
  const file = structuredClone(testRegistry(false).file);
  file.cluster.gridRegion = "south";
  file.pilot.periods = [{ id: "two-days", from: "2026-11-30", until: "2026-12-01" }];
  const factories = file.enterprises.flatMap((enterprise) => enterprise.factories);
  const devicesOf = (n: number): RegistryDevice[] => factories[n]?.gateways[0]?.devices as RegistryDevice[];
  const press = (id: string, more: Partial<RegistryDevice>): RegistryDevice => ({
    id,
    name: id,
    kind: "machine",
    ...more,
  });
  const [f1File] = factories;
  if (f1File) f1File.calendar = f1Calendar;
  Object.assign(devicesOf(0).find(({ id }) => id === "press-1") as RegistryDevice, {
    states: { running: [1, 2] },
    plannedRunTimePerItemMs: { a: 1500.5, b: 900 },
    output: true,
  });
  // What comes in of gas is not what this oracle knows.
  Object.assign(devicesOf(1).find(({ id }) => id === "gas-1") as RegistryDevice, { meteringPoint: "feeder" });
  devicesOf(0).push(press("press-2", { states: { running: [1] } }));
  devicesOf(1).push(
    press("press-1", {
      states: { running: ["RUN"] },
      plannedRunTimePerItemMs: 2000,
      calendar: f2Calendar,
      output: true,
    }),
  );
  return indexRegistry(file);
}

/** The same, as the oracle is told: planned minutes by the clock on the wall of the two days, in Shanghai. */
const machines: Omit<OracleMachine, "counters" | "states">[] = [
  {
    device: press1,
    running: ["1", "2"],
    planned: (minute) => {
      const clock = new Date(minute + 8 * 3_600_000).toISOString().slice(5, 16);
      const monday = clock >= "11-30T20:00" && clock < "12-01" && (clock < "11-30T23:30" || clock >= "11-30T23:45");
      const tuesday = clock >= "12-01" && (clock < "12-01T02:00" || (clock >= "12-01T02:10" && clock < "12-01T02:30"));
      return monday || tuesday;
    },
    rates: { a: 1_500_500_000n, b: 900_000_000n },
    output: true,
  },
  {
    device: "f1/gw-1/press-2",
    running: ["1"],
    planned: (minute) => machines[0]?.planned?.(minute) === true,
    output: false,
  },
  {
    device: "f2/gw-1/press-1",
    running: ["RUN"],
    planned: () => true,
    rates: { "": 2_000_000_000n, b: 2_000_000_000n },
    output: true,
  },
  { device: "f3/gw-1/press-1", output: false },
];

const f1 = ["f1/gw-1/meter-1", "f1/gw-1/meter-2", "f1/gw-1/feeder-1", "f1/gw-1/press-1", "f1/gw-1/press-2"];
const f2 = ["f2/gw-1/meter-1", "f2/gw-1/meter-2", "f2/gw-1/gas-1", "f2/gw-1/press-1"];
const f3 = ["f3/gw-1/press-1"];
const m1 = f1.slice(0, 2);
const m2 = f2.slice(0, 2);
const sites: Oracle["sites"] = [
  { level: "factory", entity: "f1", devices: f1, factories: ["f1"], meters: m1 },
  { level: "factory", entity: "f2", devices: f2, factories: ["f2"], meters: m2 },
  { level: "factory", entity: "f3", devices: f3, factories: ["f3"], meters: [] },
  { level: "enterprise", entity: "e1", devices: [...f1, ...f2], factories: ["f1", "f2"], meters: [...m1, ...m2] },
  { level: "enterprise", entity: "e2", devices: f3, factories: ["f3"], meters: [] },
  {
    level: "cluster",
    entity: "jinlv",
    devices: [...f1, ...f2, ...f3],
    factories: ["f1", "f2", "f3"],
    meters: [...m1, ...m2],
  },
  {
    level: "pilot",
    entity: "p1",
    devices: [...f1, ...f2, ...f3],
    factories: ["f1", "f2", "f3"],
    meters: [...m1, ...m2],
  },
];

export type Sample = { plan: number; atMs: number; value: SampleRow["value"]; status: number; reading: Reading };
export type Tick = { atMs: number; batches: Sample[][]; births: string[] };

/** Four hours of readings with gaps, resets, rollovers and bad quality. */
export function makeSamples(seed: number, untilMs: number): Sample[] {
  const { whole, chance } = random(seed);
  const samples: Sample[] = [];
  for (const [plan, { everyMs, storedAt, fromMs = startMs }] of plans.entries()) {
    let atMs = fromMs + whole(minuteMs);
    let tenths = 9_900 + whole(90);
    while (atMs < untilMs) {
      const quality = chance(0.04) ? 0x80050000 : chance(0.04) ? 0x40000000 : 0;
      const value = quality === 0x80050000 && chance(0.5) ? null : storedAt(tenths);
      const usable = quality !== 0x80050000;
      const micro = usable ? BigInt(tenths) * 100_000n : null;
      samples.push({ plan, atMs, value, status: quality, reading: { atMs, micro, good: quality === 0, value } });
      atMs += chance(0.02) ? whole(45 * minuteMs) + 1 : everyMs - whole(everyMs / 3);
      if (chance(0.1)) atMs = Math.ceil(atMs / minuteMs) * minuteMs;
      tenths += chance(0.3) ? 0 : whole(12);
      if (tenths >= 10_000 && chance(0.7)) tenths -= 10_000;
      if (chance(0.005)) tenths = 0;
      if (chance(0.003)) tenths += 9_000;
    }
  }
  return samples.sort((a, b) => a.atMs - b.atMs);
}

/** When the engine ticks: dense, sparse, and across a pause of 25 minutes. */
export function makeTicks(seed: number, count: number): Tick[] {
  const { whole, chance } = random(seed);
  const ticks: Tick[] = [];
  let atMs = startMs;
  for (let i = 0; i < count; i += 1) {
    ticks.push({ atMs, batches: [], births: [] });
    atMs += i === 20 ? 25 * minuteMs : chance(0.3) ? whole(10_000) + 1 : whole(8 * minuteMs) + 1;
  }
  return ticks;
}

/** Metrics whose mere existence makes a difference: a store knows them before the first tick. */
export const knownFromTheStart = plans.filter(({ device }) => device.includes("press"));

export const birthOrder = [...f1, ...f2.slice(0, 1)];

/** Hands every sample to the first tick after it, or to a later one; some again. Batches are in random order. */
export function deliver(samples: readonly Sample[], ticks: readonly Tick[], seed: number): Tick[] {
  const { whole, chance, shuffled } = random(seed);
  const plan = ticks.map((tick) => ({ ...tick, batches: [] as Sample[][], births: [] as string[] }));
  const arrived: Sample[][] = plan.map(() => []);
  const last = plan.length - 1;
  for (const sample of samples) {
    const due = plan.findIndex((tick) => tick.atMs >= sample.atMs);
    const tick = due < 0 ? last : due;
    const late = chance(0.75) ? tick : Math.min(last, tick + whole(18));
    arrived[late]?.push(sample);
    if (chance(0.1)) arrived[Math.min(last, late + whole(20))]?.push(sample);
  }
  for (const [i, list] of arrived.entries()) {
    const order = shuffled(list);
    while (order.length > 0) plan[i]?.batches.push(order.splice(0, 1 + whole(60)));
  }
  for (const [i, device] of birthOrder.entries()) plan[i * 5]?.births.push(device);
  return plan;
}

export function oracleOf(samples: Iterable<Sample>, births: Map<string, number>): Oracle {
  const series = plans.map(
    ({ device, definition, oracle }): OracleSeries => ({
      device,
      incoming: false,
      windowMs: 3 * (definition.heartbeatMs ?? 10_000),
      readings: [],
      ...oracle,
    }),
  );
  const seen = new Map<string, Seen[]>();
  for (const { device, counts } of plans) if (counts !== false) seen.set(device, []);
  const known = new Set<string>();
  for (const { plan, atMs, reading } of samples) {
    const key = `${plan}@${atMs}`;
    if (known.has(key)) continue;
    known.add(key);
    const { readings, windowMs } = series[plan] as OracleSeries;
    readings.push(reading);
    if (plans[plan]?.counts !== false) seen.get((plans[plan] as Plan).device)?.push({ ...reading, windowMs });
  }
  const ofDevice = (device: string) =>
    plans.flatMap(({ definition, device: own, counts }, i) =>
      own === device && counts !== false ? [{ definition, series: series[i] as OracleSeries }] : [],
    );
  const told = machines.map((machine): OracleMachine => {
    const own = ofDevice(machine.device);
    const counters = own
      .filter(({ definition }) => definition.unit === "pcs")
      .map(({ definition: { role = "", product = "" }, series: one }) => ({
        role,
        product,
        series: { ...one, readings: one.readings.map((r) => ({ ...r, micro: r.micro && r.micro * 10n })) },
      }));
    return {
      ...machine,
      counters,
      states: own.filter(({ definition }) => definition.role === "machine.state").map((state) => state.series),
    };
  });
  return { sites, series, seen, births, machines: told };
}
