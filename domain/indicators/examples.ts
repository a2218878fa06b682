import { atScale, parseDecimal } from "../decimal.ts";
import { noGauge } from "../gauge-leaf.ts";
import { type CounterSum, type MachineSums, noQuantity, type Quantity, runTimeScale } from "../machine-sums.ts";
import type { DeviceSums, FactorySums, MeterSums, PollSum, SiteSums } from "../period-sums.ts";
import { hourMs, minuteMs } from "../periods.ts";
import type { Carrier, Role } from "../roles.ts";

/**
 * Words for worked examples: a site of one hour (unless told otherwise), with what each device says of it. Everything that an example does
 * not name is as it is in a plant without faults: read all the time, nothing estimated.
 */
export const exampleStartMs = Date.UTC(2026, 10, 23, 0, 0);

const micro = (text: string): bigint => atScale(parseDecimal(text), 6);

/** So much counted in the hour, read all the time. */
export function counted(amount: string, over: Partial<Quantity> = {}): Quantity {
  return { amount: micro(amount), estimated: 0n, coveredMs: hourMs, told: true, partial: false, ...over };
}

/** A device that was online all the time. */
export function device(key: string, over: Partial<DeviceSums> = {}): DeviceSums {
  return {
    key,
    production: true,
    everConnected: true,
    onlineMs: hourMs,
    lostMs: 0,
    polls: undefined,
    days: [],
    delay: undefined,
    meter: undefined,
    machine: undefined,
    output: false,
    capability: undefined,
    alarms: undefined,
    simulated: false,
    ...over,
  };
}

/** A meter; `f1/gw-1/` goes before its name. */
export function meter(name: string, carrier: Carrier, amount: string, over: Partial<MeterSums> = {}): DeviceSums {
  return device(`f1/gw-1/${name}`, {
    production: false,
    meter: {
      carrier,
      point: "incoming",
      parent: undefined,
      quantity: counted(amount),
      bands: undefined,
      power: undefined,
      calibrationDueOn: undefined,
      ...over,
    },
  });
}

type MachineWords = {
  /** Counted by role, pieces; all of it inside planned time. */
  pieces?: Partial<Record<Role, string>>;
  plannedMinutes?: number;
  runningMinutes?: number;
  /** Declared as set-up states; absent: the registry names none. */
  setupMinutes?: number;
  /** Planned run time per item. */
  perItemMs?: string;
  product?: string;
};

function machineSums({
  pieces = {},
  plannedMinutes,
  runningMinutes = 0,
  setupMinutes,
  perItemMs,
  product,
}: MachineWords): MachineSums {
  const counters = Object.entries(pieces).map(([role, amount]): CounterSum => {
    const whole = counted(amount);
    return { role: role as Role, product, whole, planned: plannedMinutes === undefined ? noQuantity : whole };
  });
  const plannedMs = (plannedMinutes ?? 0) * minuteMs;
  const perItem = perItemMs === undefined ? undefined : atScale(parseDecimal(perItemMs), runTimeScale);
  return {
    plan: {
      calendar: plannedMinutes === undefined ? undefined : { shifts: [] },
      runningCodes: new Set(["1"]),
      setupCodes: setupMinutes === undefined ? undefined : new Set(["2"]),
      plannedRunTime: perItem === undefined ? undefined : () => perItem,
    },
    counters,
    state: {
      observedMs: plannedMs,
      knownMs: plannedMs,
      runningMs: runningMinutes * minuteMs,
      setupMs: (setupMinutes ?? 0) * minuteMs,
    },
    elapsedMs: Math.max(hourMs, plannedMs),
    plannedMs,
    lostMs: 0,
  };
}

/** A machine with what it made. */
export function machine(name: string, words: MachineWords, over: Partial<DeviceSums> = {}): DeviceSums {
  return device(`f1/gw-1/${name}`, { machine: machineSums(words), ...over });
}

/** What a gateway accounted for a device: of so many polls so many were answered, each with one reading. */
export function polls(scheduled: number, answered: number, over: Partial<PollSum> = {}): PollSum {
  return { scheduled, answered, polled: answered, bad: 0, queued: answered, missing: 0, ...over };
}

/** Measured values as sums. */
export function measured(values: readonly string[]) {
  const digits = values.map(micro);
  return {
    ...noGauge,
    samples: digits.length,
    sum: digits.reduce((sum, value) => sum + value, 0n),
    squares: digits.reduce((sum, value) => sum + value * value, 0n),
  };
}

export function factory(devices: readonly DeviceSums[], over: Partial<FactorySums> = {}): FactorySums {
  return {
    id: "f1",
    creditCode: "91440300MA5EXAMPLE",
    devices,
    factorsPer100000: {},
    pricesPer10000: undefined,
    demand: undefined,
    ...over,
  };
}

/** A site of one factory, or of those given. */
export function site(devices: readonly DeviceSums[], over: Partial<SiteSums> = {}): SiteSums {
  return {
    level: "factory",
    entity: "f1",
    period: "hour",
    startMs: exampleStartMs,
    endMs: exampleStartMs + hourMs,
    elapsedMs: hourMs,
    gridRegion: "national",
    thresholds: { collectionRate: 0.9, effectiveDays: 20, windowDays: 30, meterBalance: 0.05 },
    demo: false,
    factories: [factory(devices)],
    ...over,
  };
}

/** A factory that took electricity in every band of its tariff: 100, 300, 400 and 200 kWh. */
export const tariffSite = site([], {
  factories: [
    factory(
      [
        meter("m1", "electricity", "1000", {
          bands: {
            sharp: counted("100"),
            peak: counted("300"),
            flat: counted("400"),
            valley: counted("200"),
          },
        }),
      ],
      { pricesPer10000: { sharp: 15_000n, peak: 12_000n, flat: 7000n, valley: 3000n } },
    ),
  ],
});
