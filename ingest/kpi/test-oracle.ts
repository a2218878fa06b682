/**
 * The figures by brute force, for the tests: from the readings and the definitions alone (facts, KPI definitions; domain/leaf.ts), by
 * integrating over each period directly. It shares no code with the engine: no leaves, no merging, no windows.
 */
import { type OracleMachine, ratioFigures, unitProduct } from "./test-oracle-machines.ts";

/** A reading as delivered. `micro` null: unusable. Register readings are in millionths of a kWh, others just have a value. */
export type Reading = { atMs: number; micro: bigint | null; good: boolean; value: unknown };

/** A reading, and how long it keeps its device online. */
export type Seen = Reading & { windowMs: number };

export type OracleSeries = {
  device: string;
  /** True for the incoming electricity registers that count. */
  incoming: boolean;
  /** Window of a gap, three heartbeats. */
  windowMs: number;
  modulus?: bigint;
  ratedKW?: bigint;
  resolution?: bigint;
  readings: Reading[];
};

export type OracleSite = { level: string; entity: string; devices: string[]; factories: string[]; meters: string[] };

export type OracleFigure = {
  value: string | null;
  reason: string | null;
  completeness: number | null;
  estimatedShare: number | null;
  lowerBound: boolean;
};

type Step = { a: number; b: number; rise: bigint | null };

const known = new WeakMap<OracleSeries, Step[]>();

/** The steps from reading to reading; readings must be complete before the first question. */
function stepsOf(series: OracleSeries): Step[] {
  const steps = known.get(series) ?? findSteps(series);
  known.set(series, steps);
  return steps;
}

function findSteps(series: OracleSeries): Step[] {
  const usable = series.readings.filter((r) => r.micro !== null).sort((x, y) => x.atMs - y.atMs);
  const steps: Step[] = [];
  for (let i = 1; i < usable.length; i += 1) {
    const [x, y] = [usable[i - 1] as Reading, usable[i] as Reading];
    const allowed = (rise: bigint) => {
      if (series.ratedKW === undefined) return true;
      // 1.2 x kW x ms in millionths of a kWh; the times may be 5 s wrong.
      const most = (series.ratedKW * 12n * BigInt(y.atMs - x.atMs + 5000) * 1_000_000n) / 36_000_000n;
      return rise <= most + (series.resolution ?? 1n);
    };
    let rise: bigint | null = (y.micro as bigint) - (x.micro as bigint);
    if (rise < 0n) {
      rise = series.modulus === undefined ? null : rise + series.modulus;
      if (rise !== null && series.ratedKW === undefined && rise * 2n > (series.modulus as bigint)) rise = null;
    }
    if (rise !== null && (rise < 0n || !allowed(rise))) rise = null;
    steps.push({ a: x.atMs, b: y.atMs, rise });
  }
  return steps;
}

export type Amount = {
  amount: bigint;
  coveredMs: number;
  estimated: bigint;
  resets: number;
  samples: number;
  told: boolean;
};

/** What one register says of [from, to). */
export function amountOf(series: OracleSeries, from: number, to: number, steps = stepsOf(series)): Amount {
  const found: Amount = { amount: 0n, coveredMs: 0, estimated: 0n, resets: 0, samples: 0, told: false };
  for (const { a, b, rise } of steps) {
    if (b <= from || a >= to) continue;
    if (rise === null) {
      found.resets += 1;
      continue;
    }
    const until = (at: number) => (rise * BigInt(at - a)) / BigInt(b - a);
    const part = until(Math.min(b, to)) - until(Math.max(a, from));
    found.amount += part;
    if (b - a <= series.windowMs) found.coveredMs += Math.min(b, to) - Math.max(a, from);
    else if (a < from || b > to) found.estimated += part;
    found.told = true;
  }
  found.samples = series.readings.filter((r) => r.micro !== null && r.atMs >= from && r.atMs < to).length;
  return found;
}

/** Milliseconds of [from, to) in which some good reading of the device was younger than its metric's window. */
export function onlineMs(readings: readonly Seen[], from: number, to: number): number {
  let until = from;
  let sum = 0;
  for (const { atMs, windowMs } of readings.filter((r) => r.good).sort((x, y) => x.atMs - y.atMs)) {
    const start = Math.max(atMs, until);
    const end = Math.min(atMs + windowMs, to);
    if (end > start) sum += end - start;
    until = Math.max(until, end);
  }
  return sum;
}

export function ratio(part: bigint, whole: bigint): number {
  return whole === 0n ? 0 : Number((2n * part * 10_000n + whole) / (2n * whole)) / 10_000;
}

export function decimal(digits: bigint, places: number): string {
  const text = digits.toString().padStart(places + 1, "0");
  return `${text.slice(0, -places)}.${text.slice(-places)}`.replace(/\.?0+$/, "");
}

const counted = (n: number): OracleFigure => ({
  value: String(n),
  reason: null,
  completeness: null,
  estimatedShare: null,
  lowerBound: false,
});

export type Oracle = {
  sites: OracleSite[];
  series: OracleSeries[];
  /** Good readings that count for a device. */
  seen: Map<string, Seen[]>;
  births: Map<string, number>;
  machines: OracleMachine[];
};

/** @param ratios whether the period has ratios of machines */
export function oracleFigures(
  oracle: Oracle,
  from: number,
  to: number,
  asOf: number,
  ratios = to - from >= 3_600_000,
): Map<string, OracleFigure> {
  const figures = new Map<string, OracleFigure>();
  const amounts = new Map<string, Amount>();
  for (const series of oracle.series.filter((s) => s.incoming)) {
    if (series.readings.length > 0) amounts.set(series.device, amountOf(series, from, to));
  }
  const online = new Set<string>();
  for (const [device, readings] of oracle.seen)
    if (onlineMs(readings, from, Math.min(to, asOf)) > 0) online.add(device);
  for (const { level, entity, devices, factories, meters } of oracle.sites) {
    const put = (indicator: string, figure: OracleFigure) => figures.set(`${indicator}|${level}|${entity}`, figure);
    const live = devices.filter((d) => online.has(d));
    put("devices.registered", counted(devices.length));
    put("devices.online", counted(live.length));
    const born = (d: string) => (oracle.births.get(d) ?? Number.POSITIVE_INFINITY) < Math.min(to, asOf);
    put("devices.ever_connected", counted(devices.filter(born).length));
    if (level !== "factory")
      put("factories.connected", counted(factories.filter((f) => live.some((d) => d.startsWith(`${f}/`))).length));
    const known = meters.map((m) => amounts.get(m)).filter((a) => a?.told === true) as Amount[];
    const sum = known.reduce((total, a) => total + a.amount, 0n);
    const elapsed = Math.max(1, Math.min(to, asOf) - from);
    const covered = known.reduce((ms, a) => ms + Math.min(a.coveredMs, elapsed), 0);
    const estimated = known.reduce((total, a) => total + a.estimated, 0n);
    for (const [indicator, value] of [
      ["energy.electricity", decimal(sum, 6)],
      ["energy.comprehensive", decimal(sum * 1229n, 10)],
      ["carbon.electricity", decimal(sum * 4042n, 10)],
    ] as const) {
      if (meters.length === 0) put(indicator, { ...counted(0), value: null, reason: "no_meter" });
      else if (known.length === 0) put(indicator, { ...counted(0), value: null, reason: "no_data", completeness: 0 });
      else
        put(indicator, {
          value,
          reason: null,
          completeness: ratio(BigInt(covered), BigInt(elapsed * meters.length)),
          estimatedShare: ratio(estimated, sum),
          lowerBound: known.length < meters.length || known.some((a) => a.resets > 0),
        });
    }
    if (!ratios) continue;
    const own = oracle.machines.filter(({ device }) => devices.includes(device));
    for (const [indicator, figure] of ratioFigures(own, from, to, asOf)) put(indicator, figure);
    const places = factories.map((factory) => {
      const inside = (device: string) => device.startsWith(`${factory}/`);
      const registers = meters.filter(inside);
      return {
        registers: registers.length,
        told: registers.flatMap((m) => amounts.get(m) ?? []),
        machines: own.filter((m) => inside(m.device)),
      };
    });
    put("energy.unit_product", unitProduct(places, from, to, asOf));
  }
  return figures;
}
