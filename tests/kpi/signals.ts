/** What a simulated device does in time: its polls, with values, qualities and source times, as a gateway's shaping gives them. */

import type { Value } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import { random } from "@jilian/ingest/test-random.ts";
import { newCounts, type PlantDevice, type PlantGateway, type PlantMetric, type PlantOptions } from "./plant.ts";

/** One sample of a poll. */
export type Reading = {
  /** Number of the metric within its device. */
  metric: number;
  value: Value;
  status: number;
  /** A register's reading in millionths of its unit, where the value is one. */
  micro: bigint | undefined;
};

/** The samples of a device that bear one source time. */
export type Poll = {
  /** True time at which it happened; nobody but the simulator knows it. */
  trueMs: number;
  /** Time of the gateway's clock. */
  gatewayMs: number;
  /** What the samples say. */
  sourceMs: number;
  readings: Reading[];
};

const minuteMs = 60_000;
const hourMs = 3_600_000;

/** How far a gateway's clock is off, by stretches of true time. */
export type ClockStretch = { fromMs: number; toMs: number; offsetMs: number };

/** The stretches in which the clock of a gateway is wrong. */
export function clockStretches({ clock, seed }: PlantGateway, { fromMs, untilMs }: PlantOptions): ClockStretch[] {
  const { whole } = random(seed + 1);
  if (clock === "true") return [];
  // A box without a battery begins in 1970, until it is told the time.
  if (clock === "from 1970")
    return [{ fromMs, toMs: fromMs + 2 * minuteMs + whole(5 * minuteMs), offsetMs: 5000 - fromMs }];
  const found: ClockStretch[] = [];
  for (let at = fromMs + whole(4 * hourMs); at < untilMs; at += hourMs + whole(14 * hourMs)) {
    const offsets = [4 * minuteMs, -12 * minuteMs, 45 * minuteMs, -700, 9000, 3 * hourMs];
    const offsetMs = offsets[whole(offsets.length)] as number;
    found.push({ fromMs: at, toMs: at + minuteMs + whole(20 * minuteMs), offsetMs });
  }
  return found;
}

function clockAt(stretches: readonly ClockStretch[], trueMs: number): number {
  const own = stretches.find(({ fromMs, toMs }) => trueMs >= fromMs && trueMs < toMs);
  return trueMs + (own?.offsetMs ?? 0);
}

type Metric = PlantMetric & {
  counts: number;
  /** Part of a count that is not a whole one yet. */
  rest: number;
  perMs: number;
  reported: boolean;
  last: string;
  reportedMs: number;
};

/** A register that is exchanged, reset or struck by noise; pieces and states that follow the machine. */
function moved(
  metric: Metric,
  elapsedMs: number,
  running: boolean,
  product: string,
  pieceMs: number,
  seed: ReturnType<typeof random>,
) {
  const { signal } = metric;
  const halfMinutes = Math.min(1, elapsedMs / 30_000);
  if (signal.kind === "register") {
    if (seed.chance(0.02 * halfMinutes)) metric.perMs = (signal.perHour * (0.3 + seed.next())) / hourMs;
    metric.rest += (metric.perMs * elapsedMs * 1e6) / Number(signal.microPerCount);
  } else if (signal.kind === "pieces") {
    const own = signal.product === undefined || signal.product === product;
    if (running && own) metric.rest += (signal.share * elapsedMs * (0.85 + seed.next() * 0.3)) / pieceMs;
  } else return;
  const whole = Math.floor(metric.rest);
  metric.rest -= whole;
  metric.counts += whole;
  if (seed.chance(0.0004 * halfMinutes)) metric.counts = seed.whole(50);
  if (seed.chance(0.0002 * halfMinutes)) metric.counts += 30_000;
  metric.counts %= signal.modulusCounts;
}

function readOf(metric: Metric, state: number, seed: ReturnType<typeof random>): Pick<Reading, "value" | "micro"> {
  const { signal } = metric;
  if (signal.kind === "power") {
    const eighths = signal.from + seed.whole(signal.width);
    return { value: eighths / 8, micro: BigInt(eighths) * 125_000n };
  }
  if (signal.kind === "state") return { value: signal.codes[state % signal.codes.length] as Value, micro: undefined };
  if (signal.kind === "pieces") return { value: BigInt(metric.counts), micro: BigInt(metric.counts) * 1_000_000n };
  const micro = BigInt(metric.counts) * signal.microPerCount;
  // One division by a power of ten gives the double, or float, whose shortest form is the decimal.
  const value = metric.counts / Number(1_000_000n / signal.microPerCount);
  return { value: signal.float32 ? Math.fround(value) : value, micro };
}

/** Time of a poll's samples: strictly increasing within the device, and doubted once the clock has run back by more than a second. */
function sourceTime(lastMs: number, gatewayMs: number): { sourceMs: number; status: number } {
  const status = lastMs - gatewayMs <= 1000 ? Status.Good : Status.Uncertain;
  return { sourceMs: gatewayMs > lastMs ? gatewayMs : lastMs + 1, status };
}

/**
 * The polls of a device in true order, one by one. Each call begins anew and gives the same.
 * @param onExchange told what a register said last that is exchanged
 */
export function* pollsOf(
  device: PlantDevice,
  stretches: readonly ClockStretch[],
  { fromMs, untilMs, pollMs }: PlantOptions,
  onExchange?: (counts: number) => void,
): Generator<Poll> {
  if (!device.isRead) return;
  const seed = random(device.seed);
  const { whole, chance } = seed;
  const metrics = device.metrics.map((metric): Metric => {
    const counts = metric.signal.kind === "register" ? whole(4000) : whole(9900);
    return { ...metric, counts, rest: 0, perMs: 0, reported: false, last: "", reportedMs: 0 };
  });
  for (const metric of metrics) if (metric.signal.kind === "register") metric.perMs = metric.signal.perHour / hourMs;
  let trueMs = fromMs + 500 + whole(pollMs);
  let beforeMs = trueMs;
  let lastMs = 0;
  let [state, product] = [0, "a"];
  /** Moves every register to a time. */
  const moveTo = (atMs: number) => {
    for (const metric of metrics) moved(metric, atMs - beforeMs, state < 2, product, device.pieceMs, seed);
    beforeMs = atMs;
  };
  while (trueMs < untilMs) {
    if (chance((0.1 * pollMs) / minuteMs)) state = chance(0.6) ? whole(2) : whole(4);
    if (chance(0.002)) product = product === "a" ? "b" : "a";
    for (const metric of metrics) {
      const exchangeMs = metric.signal.kind === "register" ? metric.signal.exchangeMs : undefined;
      if (exchangeMs === undefined || exchangeMs <= beforeMs || exchangeMs > trueMs) continue;
      moveTo(exchangeMs);
      onExchange?.(metric.counts);
      metric.counts = newCounts;
    }
    moveTo(trueMs);
    const gatewayMs = clockAt(stretches, trueMs);
    const time = sourceTime(lastMs, gatewayMs);
    const lost = chance((0.006 * pollMs) / minuteMs);
    const readings: Reading[] = [];
    for (const [m, metric] of metrics.entries()) {
      const own = readOf(metric, state, seed);
      let { status } = time;
      if (lost || chance(0.002)) status = Status.BadTimeout;
      else if (status === Status.Good && chance(0.01)) status = Status.UncertainDataSubNormal;
      const isBad = status === Status.BadTimeout;
      const value = isBad && (lost || chance(0.5)) ? null : own.value;
      const text = `${status} ${value}`;
      const due = gatewayMs - metric.reportedMs >= (metric.definition.heartbeatMs ?? 10_000) - pollMs / 2;
      if (metric.reported && text === metric.last && !due && gatewayMs >= metric.reportedMs) continue;
      Object.assign(metric, { reported: true, last: text, reportedMs: gatewayMs });
      readings.push({ metric: m, value, status, micro: isBad ? undefined : own.micro });
    }
    if (readings.length > 0) {
      lastMs = time.sourceMs;
      yield { trueMs, gatewayMs, sourceMs: time.sourceMs, readings };
    }
    trueMs += lost ? minuteMs + whole(chance(0.2) ? 100 * minuteMs : 8 * minuteMs) : pollMs - whole(pollMs / 5);
    // Readings exactly on the edge of a minute are where rounding and belonging go wrong.
    const edge = Math.ceil(trueMs / minuteMs) * minuteMs;
    if (edge - trueMs < pollMs && chance(0.2)) trueMs = edge;
  }
}

type Register = Extract<PlantMetric["signal"], { kind: "register" }>;

/** What the register of a device says last before it is exchanged; undefined where none is. The clock of its gateway is right. */
export function lastOfOldRegister(
  device: PlantDevice,
  options: PlantOptions,
): { atMs: number; counts: number; signal: Register } | undefined {
  const signal = device.metrics.map((metric) => metric.signal).find((s) => s.kind === "register");
  const atMs = signal?.exchangeMs;
  if (!signal || atMs === undefined) return undefined;
  let counts: number | undefined;
  for (const { trueMs } of pollsOf(device, [], options, (own) => {
    counts = own;
  }))
    if (trueMs > atMs) break;
  return counts === undefined ? undefined : { atMs, counts, signal };
}
