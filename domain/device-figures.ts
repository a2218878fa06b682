import { formatScaled } from "./decimal.ts";
import { type CounterLeaf, estimatedOf, tellsIncrease } from "./leaf.ts";
import { type Period, watermarkMs } from "./periods.ts";
import { type Result, share } from "./result.ts";
import { defaultScale, type Role, roles, scaleOfUnit } from "./roles.ts";

/** Version of the definition below, named by every figure of a device. */
export const deviceFigureVersion = 1;

/** What a figure of a device is computed from. */
export type DeviceFigureInput = {
  /** The counter role, which is also the indicator's id: `energy.import`, `production.total`. */
  role: Role;
  /** `factory/gateway/device`. */
  entity: string;
  period: Period;
  /** Start of the period and its end (exclusive), UTC ms. */
  startMs: number;
  endMs: number;
  /** Per series of this role (one, or one per carrier or product) its leaves of the period, merged. */
  series: readonly CounterLeaf[];
  asOfMs: number;
  /** Of what has passed of the period, the time that samples which are not stored stand for, ms (lost-time.ts); of minutes it is not known. */
  lostMs?: number;
  inputWatermark: number;
  registryVersion: string;
  simulated: boolean;
};

/** Status of a figure that is made on reading and not kept: late data changes the leaves and with them the figure. */
export function statusOf({ endMs }: Pick<Result, "endMs">, asOfMs: number): Result["status"] {
  return asOfMs >= endMs + watermarkMs ? "final" : "provisional";
}

/**
 * The figure of one device, counter role and period, from its leaves. Pure: equal leaves give equal digits. It is made on reading and
 * not kept (CONTRACTS 4), hence revision 0: late data changes the leaves and with them the figure.
 *
 * Completeness is the part of the elapsed period that readings cover, over all series of the role, at most what is stored; the value is null (`no_data`) when no
 * leaf tells an increase, and null (`not_due`) before the period begins.
 */
export function deviceFigure(input: DeviceFigureInput): Result {
  const { role, entity, period, startMs, endMs, asOfMs, series: merged } = input;
  const amount = merged.reduce((sum, leaf) => sum + leaf.amount, 0n);
  const estimated = merged.reduce((sum, leaf) => sum + estimatedOf(leaf), 0n);
  const coveredMs = merged.reduce((sum, leaf) => sum + leaf.coveredMs, 0);
  const series = Math.max(1, merged.length);
  const elapsedMs = (Math.min(endMs, asOfMs) - startMs) * series;
  const mostMs = Math.max(0, elapsedMs - (input.lostMs ?? 0) * series);
  const due = elapsedMs > 0;
  const known = due && merged.some(tellsIncrease);
  const { unit } = roles[role];
  return {
    indicator: role,
    level: "device",
    entity,
    period,
    startMs,
    endMs,
    value: known ? formatScaled(amount, scaleOfUnit[unit] ?? defaultScale) : null,
    reason: known ? null : due ? "no_data" : "not_due",
    unit,
    // A source clock that runs ahead can cover more than has elapsed.
    completeness: due ? share(BigInt(Math.min(coveredMs, mostMs)), BigInt(elapsedMs)) : null,
    estimatedShare: known ? share(estimated, amount) : null,
    lowerBound: merged.some((leaf) => leaf.resets > 0),
    status: statusOf({ endMs }, asOfMs),
    revision: 0,
    definitionVersion: deviceFigureVersion,
    factorTable: null,
    registryVersion: input.registryVersion,
    inputWatermark: input.inputWatermark,
    asOfMs,
    simulated: input.simulated,
  };
}
