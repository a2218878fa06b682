import { dayMs, hourMs, minuteMs } from "./periods.ts";

/** Bands of a time-of-use tariff of electricity (分时电价): 尖, 峰, 平, 谷. */
export const bands = ["sharp", "peak", "flat", "valley"] as const;
export type Band = (typeof bands)[number];

/** A tariff as the registry declares it. Times are `HH:MM` in Asia/Shanghai; an end that is not after its begin is on the next day. */
export type Tariff = {
  readonly periods: readonly {
    readonly kind: Band;
    readonly from: string;
    readonly to: string;
    /** Months in which it holds, 1-12; all of them if absent. */
    readonly months?: readonly number[];
  }[];
  readonly pricesCNYPerKWh: Partial<Readonly<Record<Band, number>>>;
};

/** CNY/kWh as integers at 4 places: a bill rounds no finer. */
export type PricesPer10000 = Partial<Readonly<Record<Band, bigint>>>;

/** Asia/Shanghai is eight hours ahead (periods.ts). */
const offsetMs = 8 * hourMs;

function minuteOf(time: string): number {
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
}

function holds(from: number, to: number, minute: number): boolean {
  return from < to ? minute >= from && minute < to : minute >= from || minute < to;
}

/** The band of each minute: of several periods that hold it the first one counts, and what none holds is flat. */
export function bandsOf({ periods }: Tariff): (minuteMs: number) => Band {
  const table = Array.from({ length: 12 }, (_, month) =>
    Array.from({ length: 24 * 60 }, (_, minute): Band => {
      const found = periods.find(
        ({ from, to, months }) =>
          (!months || months.includes(month + 1)) && holds(minuteOf(from), minuteOf(to) % (24 * 60), minute),
      );
      return found?.kind ?? "flat";
    }),
  );
  return (timeMs) => {
    const local = timeMs + offsetMs;
    const month = new Date(local).getUTCMonth();
    return table[month]?.[Math.floor((local % dayMs) / minuteMs)] ?? "flat";
  };
}

/** The quarter hour with the most energy, of those that were told. */
export type DemandSum = {
  /** Its energy through all meters together, kWh at 6 places; mean power is four times that. */
  readonly amount: bigint;
  readonly startMs: number;
  /** The part of it that interpolation over a gap at its edges assigned. */
  readonly estimated: bigint;
  /** True when some meter told nothing of some quarter hour, or not all: the true maximum is not less. */
  readonly partial: boolean;
};

/** The greater of two; of equals the earlier one. Associative, and the order does not matter. */
export function greaterDemand(a: DemandSum | undefined, b: DemandSum | undefined): DemandSum | undefined {
  if (!a || !b) return a ?? b;
  const first = a.amount > b.amount || (a.amount === b.amount && a.startMs <= b.startMs) ? a : b;
  return { ...first, partial: a.partial || b.partial };
}
